"""Classify why libcurl got no complete response: pure."""

import errno
from datetime import UTC, datetime

import pycurl

from deliveries.policy.outcomes import Cause, NoResponse

TLS_ERRORS = frozenset(
    {
        pycurl.E_SSL_CONNECT_ERROR, pycurl.E_SSL_CERTPROBLEM, pycurl.E_SSL_CIPHER, pycurl.E_PEER_FAILED_VERIFICATION,
        pycurl.E_SSL_ENGINE_INITFAILED, pycurl.E_SSL_ISSUER_ERROR, pycurl.E_SSL_INVALIDCERTSTATUS,
    }
)  # fmt: skip
UNREACHABLE = frozenset({pycurl.E_COULDNT_RESOLVE_HOST, pycurl.E_COULDNT_CONNECT, pycurl.E_URL_MALFORMAT})
CLOSED = frozenset({pycurl.E_GOT_NOTHING, pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR, pycurl.E_PARTIAL_FILE})
# The second is the code of a weird reply of any server; it was named when FTP servers alone had it.
NOT_HTTP = frozenset({pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_FTP_WEIRD_SERVER_REPLY})
# Results of OpenSSL's verification of a certificate (openssl-verification-options(1)).
EXPIRED, UNTRUSTED = 10, frozenset({18, 19, 20, 21})
OTHER_NAME = "certificate subject name"
# The alert of TLS 1.3 that asks for a client certificate in vain. The client may have sent its request by then.
CLIENT_CERTIFICATE = "alert certificate required"


def classify_failure(
    code: int, error: str, *, status: int = 0, os_errno: int = 0, verify_result: int = 0, expired_on: str = ""
) -> NoResponse:
    """Return the reason for libcurl's result ``code`` and ``error`` message.

    ``status`` is that of a response whose headers had come, ``os_errno`` that of the connection, ``verify_result``
    OpenSSL's verdict on the certificate, and ``expired_on`` the date on which it expired; 0 or empty if there is none.
    """
    begun = f" (after status {status})" if status else ""
    text = f"{error or f'libcurl error {code}'}{begun}"
    if code == pycurl.E_OPERATION_TIMEDOUT:
        return NoResponse("timeout", text, "response_incomplete" if status else "connection_timed_out")
    if code in UNREACHABLE:
        return NoResponse("unreachable", text, _cause_of_unreachable(code, os_errno))
    if CLIENT_CERTIFICATE in error:
        return NoResponse("tls", text, "client_certificate_demanded")
    if code in TLS_ERRORS and expired_on:
        return NoResponse("tls", f"The certificate expired on {expired_on}", "certificate_expired")
    if code in TLS_ERRORS:
        return NoResponse("tls", text, _cause_of_tls(code, error, verify_result))
    if code in CLOSED:
        return NoResponse("protocol", text, "connection_closed")
    return NoResponse("protocol", text, "response_not_http" if code in NOT_HTTP else None)


def _cause_of_unreachable(code: int, os_errno: int) -> Cause:
    if code == pycurl.E_COULDNT_RESOLVE_HOST:
        return "name_not_resolved"
    return "connection_refused" if os_errno == errno.ECONNREFUSED else "connection_failed"


def _cause_of_tls(code: int, error: str, verify_result: int) -> Cause:
    if verify_result == EXPIRED:
        return "certificate_expired"
    if verify_result in UNTRUSTED:
        return "certificate_untrusted"
    if OTHER_NAME in error:
        return "certificate_for_other_name"
    # For other codes, libcurl returns an unspecified error of a verification that did not take place.
    return "certificate_invalid" if code == pycurl.E_PEER_FAILED_VERIFICATION and verify_result else "tls_failed"


def expiry_date(text: str) -> str:
    """Return the date of a time as OpenSSL writes it, such as ``Jan  1 00:00:00 2021 GMT``, as ISO 8601, or ""."""
    try:
        return datetime.strptime(text, "%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC).date().isoformat()
    except ValueError:
        return ""
