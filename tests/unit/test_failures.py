"""Why libcurl got no complete response: the kind, the cause, and the words."""

import errno

import pycurl
import pytest

from deliveries.policy.outcomes import CAUSES, NoResponse
from deliveries.sending.failures import classify_failure, expiry_date


@pytest.mark.parametrize(
    ("code", "found", "kind", "cause"),
    [
        (pycurl.E_COULDNT_RESOLVE_HOST, {}, "unreachable", "name_not_resolved"),
        (pycurl.E_COULDNT_CONNECT, {"os_errno": errno.ECONNREFUSED}, "unreachable", "connection_refused"),
        (pycurl.E_COULDNT_CONNECT, {"os_errno": errno.ENETUNREACH}, "unreachable", "connection_failed"),
        (pycurl.E_COULDNT_CONNECT, {}, "unreachable", "connection_failed"),
        (pycurl.E_OPERATION_TIMEDOUT, {}, "timeout", "connection_timed_out"),
        (pycurl.E_OPERATION_TIMEDOUT, {"status": 200}, "timeout", "response_incomplete"),
        (pycurl.E_PEER_FAILED_VERIFICATION, {"verify_result": 10}, "tls", "certificate_expired"),
        (pycurl.E_PEER_FAILED_VERIFICATION, {"verify_result": 18}, "tls", "certificate_untrusted"),
        (pycurl.E_PEER_FAILED_VERIFICATION, {"verify_result": 20}, "tls", "certificate_untrusted"),
        (pycurl.E_PEER_FAILED_VERIFICATION, {"verify_result": 9}, "tls", "certificate_invalid"),
        (pycurl.E_SSL_CONNECT_ERROR, {}, "tls", "tls_failed"),
        (pycurl.E_SSL_CONNECT_ERROR, {"verify_result": 1}, "tls", "tls_failed"),
        (pycurl.E_GOT_NOTHING, {}, "protocol", "connection_closed"),
        (pycurl.E_PARTIAL_FILE, {"status": 200}, "protocol", "connection_closed"),
        (pycurl.E_UNSUPPORTED_PROTOCOL, {}, "protocol", "response_not_http"),
        (pycurl.E_OUT_OF_MEMORY, {}, "protocol", None),
    ],
)
def test_each_code_has_its_kind_and_cause(code: int, found: dict[str, int], kind: str, cause: str | None) -> None:
    loss = classify_failure(code, "Broken", **found)  # type: ignore[arg-type]

    assert (loss.kind, loss.cause) == (kind, cause)
    assert cause is None or cause in CAUSES
    assert loss.error == ("Broken (after status 200)" if found.get("status") else "Broken")


def test_a_certificate_for_another_name_is_told_by_libcurls_words() -> None:
    error = "SSL: no alternative certificate subject name matches target host name 'ci.example'"

    assert classify_failure(pycurl.E_PEER_FAILED_VERIFICATION, error).cause == "certificate_for_other_name"


@pytest.mark.parametrize("code", [pycurl.E_RECV_ERROR, pycurl.E_SEND_ERROR, pycurl.E_SSL_CONNECT_ERROR])
def test_a_receiver_that_demands_a_certificate_is_told_from_one_that_breaks_down(code: int) -> None:
    error = "OpenSSL SSL_read: OpenSSL/3.6.5: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0"

    assert classify_failure(code, error) == NoResponse("tls", error, "client_certificate_demanded")


def test_an_expired_certificate_says_when_it_expired() -> None:
    loss = classify_failure(
        pycurl.E_PEER_FAILED_VERIFICATION, "expired (10)", verify_result=10, expired_on="2021-01-01"
    )

    assert loss == NoResponse("tls", "The certificate expired on 2021-01-01", "certificate_expired")


def test_without_words_the_code_is_shown() -> None:
    assert classify_failure(7777, "").error == "libcurl error 7777"


@pytest.mark.parametrize(
    ("text", "date"),
    [("Jan  1 00:00:00 2021 GMT", "2021-01-01"), ("Dec 31 23:59:59 2049 GMT", "2049-12-31"), ("", ""), ("soon", "")],
)
def test_openssls_times_become_dates(text: str, date: str) -> None:
    assert expiry_date(text) == date
