"""Explain an attempt that did not deliver to the owner of the webhook: what happened, and what to do about it.

One table for the API, the admin, e-mails and pages. The sentences are about the receiver in the third person, because
the reader may not operate it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from deliveries.formats import Format
from deliveries.plain_text import on_one_line
from deliveries.policy.outcomes import Cause, verdict_on

# The most of a redirect's target that a sentence repeats, in characters.
LONGEST_TARGET = 300


class Explanation(NamedTuple):
    """What happened, and what to do; a sentence or two each."""

    what_happened: str
    what_to_do: str


class Facts(NamedTuple):
    """The facts of an attempt as its row has them; ``url`` may be masked after the host."""

    outcome: str
    cause: str | None
    status: int | None
    error: str
    url: str
    response_headers: str
    response_body: bytes
    seconds: float | None


Translate = Callable[[str], str]


def explain(facts: Facts, *, wire_format: Format, translate: Translate = str) -> Explanation | None:
    """Return the explanation of an attempt, or None if it delivered.

    ``translate`` returns a sentence of ``sentences()`` in another language, with the same names in braces.
    """
    if facts.outcome == "delivered":
        return None
    found, values = _explanation(facts, wire_format=wire_format, translate=translate)
    happened, to_do = (translate(sentence).format_map(values) for sentence in found)
    return Explanation(happened, to_do)


def sentences() -> list[str]:
    """Return every sentence of an explanation, with names in braces for what differs from attempt to attempt.

    With them come the words that stand for such names.
    """
    tables = (BY_CAUSE, BY_STATUS, _BY_CLASS, _BY_VERDICT)
    found = [each for table in tables for each in table.values()]
    others = (LOST, _OTHER_FAILURE, _OTHER_STATUS, _OTHER_VERDICT, _REDIRECTED, _REDIRECTED_NOWHERE)
    return [sentence for explanation in (*found, *others) for sentence in explanation] + [_SOME_HOST, _SOME_TIME]


def _explanation(
    facts: Facts, *, wire_format: Format, translate: Translate
) -> tuple[Explanation, Mapping[str, object]]:
    """Return the explanation with names in braces, and their values."""
    if facts.outcome == "unknown":
        return LOST, {}
    if facts.status is None:
        return _explain_no_response(facts, translate=translate)
    by_format = wire_format.verdict_on(facts.status, facts.response_body)
    if by_format is not None and by_format != verdict_on(facts.status):
        values = {"title": wire_format.title, "status": facts.status}
        return _BY_VERDICT.get(by_format, _OTHER_VERDICT), values
    return _explain_status(facts.status, location=_header(facts.response_headers, "location"), url=facts.url)


LOST = Explanation(
    "A worker of HookHub died, or was cut off from the database, before it recorded the result.",
    "Nothing: HookHub sends the delivery again. The receiver may get it twice and recognizes it by its id.",
)

_SLOW = (
    "Let the receiver respond first and do its work afterwards, or raise the webhook's timeout if it is below the most "
    "that is allowed."
)
_REACH = "Check that the receiver runs, that the port of the URL is right, and that no firewall blocks HookHub."

# What happened and what to do, by cause. {host} and {seconds} are those of the attempt.
BY_CAUSE: Mapping[Cause, Explanation] = {
    "name_not_resolved": Explanation(
        "The name {host} does not resolve to an address.",
        "Check the host name in the webhook's URL, and that its DNS records exist and are public.",
    ),
    "name_timed_out": Explanation(
        "The look-up of the name {host} took too long.",
        "Check the name servers of the domain; HookHub's own resolver may also be slow or unreachable.",
    ),
    "connection_refused": Explanation(
        "{host} refused the connection: nothing listens at this port.",
        _REACH,
    ),
    "connection_failed": Explanation("No connection to {host} could be made: {error}.", _REACH),
    "connection_timed_out": Explanation(
        "There was no connection to {host} within {seconds}.",
        _REACH + " If the URL begins with https://, the port must speak TLS.",
    ),
    "connection_closed": Explanation(
        "The receiver closed the connection before its response was complete.",
        "Look into the log of the receiver, and of a proxy before it: a crash, a restart or a limit can be why.",
    ),
    "out_of_resources": Explanation(
        "This machine of HookHub had no resources left for another connection.",
        "Nothing on the receiver's side; the operator of HookHub should raise its limit of open files.",
    ),
    "address_blocked": Explanation(
        "{host} resolves to an address that HookHub does not send to, such as one of a private network.",
        "Use a public address. The operator of HookHub can allow a network with HOOKHUB_ALLOWED_NETWORKS.",
    ),
    "https_required": Explanation(
        "The URL begins with http://, and this deployment sends over https:// only.",
        "Serve the receiver with TLS and change the URL to https://.",
    ),
    "certificate_expired": Explanation(
        "The certificate of {host} is no longer valid. {error}.",
        "Renew the certificate, and check that the server was reloaded after that.",
    ),
    "certificate_untrusted": Explanation(
        "The certificate of {host} is signed by no authority that HookHub trusts, or its chain is incomplete.",
        "Install a certificate of a public authority with all its intermediate certificates.",
    ),
    "certificate_for_other_name": Explanation(
        "The certificate of {host} was issued for another name.",
        "Use the name in the certificate as the host of the URL, or have a certificate issued for this one.",
    ),
    "certificate_invalid": Explanation(
        "The certificate of {host} was not accepted: {error}.",
        "Install a certificate that is valid by now, is meant for servers and has a key of 2,048 bits or more.",
    ),
    "client_certificate_demanded": Explanation(
        "{host} demands a certificate of its clients, which HookHub does not have.",
        "Let requests to this URL in without a client certificate; the receiver can verify their signatures instead.",
    ),
    "tls_failed": Explanation(
        "HookHub and {host} could not agree on an encrypted connection: {error}.",
        "Check that the port speaks TLS, version 1.2 or later, and demands no certificate of its clients.",
    ),
    "response_timed_out": Explanation("{host} accepted the request and did not respond within {seconds}.", _SLOW),
    "response_incomplete": Explanation(
        "The response of {host} had begun and was not complete in time. {error}.",
        _SLOW + " The body of the response is not needed: an empty one is the quickest.",
    ),
    "response_not_http": Explanation(
        "The response of {host} is not HTTP.", "Check that the port of the URL is that of an HTTP server."
    ),
    "response_headers_too_long": Explanation(
        "The headers of the response are longer than HookHub reads.",
        "Let the receiver send fewer or shorter headers, such as cookies.",
    ),
    "unrenderable": Explanation(
        "HookHub could not build the request in the webhook's format: {error}.",
        "Change the webhook's format or the published payload, then redeliver.",
    ),
}

# What stands for a {host} and for {seconds} that are not known.
_SOME_HOST, _SOME_TIME = "the receiver", "its deadline"

_OTHER_FAILURE = Explanation(
    "There was no complete response: {error}.", "The receiver's log, or that of a proxy before it, may say why."
)

# By status, where it says more than its class.
BY_STATUS: Mapping[int, Explanation] = {
    400: Explanation(
        "The receiver found the request malformed (400).",
        "The body of its response may say why: often it expects another format, or could not verify the signature.",
    ),
    401: Explanation(
        "The receiver demands authentication (401).",
        "Compare the webhook's secret with the receiver's, or give the webhook a header with credentials.",
    ),
    403: Explanation(
        "The receiver refuses the request (403).",
        "Compare the webhook's secret with the receiver's, and let HookHub through its firewall or bot protection.",
    ),
    404: Explanation(
        "The receiver knows nothing at this address (404).",
        "Check the path of the webhook's URL, and that the receiver is deployed.",
    ),
    405: Explanation(
        "This address takes no POST requests (405).",
        "Check the path of the webhook's URL, and that the receiver handles POST there.",
    ),
    408: Explanation(
        "The receiver gave up waiting for the request (408).", "It is retried; look at the receiver's load."
    ),
    410: Explanation(
        "The receiver asked never to be sent anything again (410).",
        "The webhook is disabled, as asked. Enable it if that was a mistake of the receiver.",
    ),
    411: Explanation(
        "The receiver demands a Content-Length (411), which HookHub sends.",
        "A proxy before the receiver seems to remove it.",
    ),
    413: Explanation(
        "The event is larger than the receiver takes (413).",
        "Raise the limit of the receiver, and of a proxy before it (nginx: client_max_body_size).",
    ),
    415: Explanation(
        "The receiver does not take this content type (415).", "Choose another content type or format for the webhook."
    ),
    422: Explanation(
        "The receiver read the request but cannot process it (422).",
        "The body of its response may say which field is wrong.",
    ),
    425: Explanation("The receiver takes no early request (425).", "It is retried."),
    429: Explanation(
        "The receiver asked for fewer requests (429).",
        "HookHub slows down as its Retry-After asks. Allow the receiver more requests, or lower the webhook's limit of "
        "requests in flight.",
    ),
    500: Explanation("The receiver failed (500).", "Look into its log at this time, mend it, then redeliver."),
    501: Explanation("The receiver does not implement this (501).", "Check the path of the webhook's URL."),
    502: Explanation(
        "A proxy before the receiver got no valid response from it (502).",
        "Check that the receiver runs behind its proxy.",
    ),
    503: Explanation(
        "The receiver is unavailable for now (503).", "Check that it runs and is not overloaded. It is retried."
    ),
    504: Explanation("A proxy before the receiver waited for it too long (504).", _SLOW),
}  # fmt: skip

_BY_CLASS: Mapping[int, Explanation] = {
    1: Explanation("The receiver sent an interim response only.", "Check the receiver or the proxy before it."),
    4: Explanation("The receiver rejected the request ({status}).", "The body of its response may say why."),
    5: Explanation("The receiver failed ({status}).", "Look into its log at this time, mend it, then redeliver."),
}
_OTHER_STATUS = Explanation("The receiver responded with the unknown status {status}.", "Let it respond with 2xx.")


# By the verdict of a format that judges responses by rules of its own.
_BY_VERDICT: Mapping[str, Explanation] = {
    "gone": Explanation(
        "{title} responded with {status}: this address exists no more.",
        "Create the address anew there, change the webhook's URL to it and enable the webhook.",
    ),
    "reject": Explanation(
        "{title} rejected this very message ({status}); sending it again would not help.",
        "The body of its response says why. Later events are sent as before.",
    ),
}
_OTHER_VERDICT = Explanation(
    "{title} did not accept the message (status {status}).", "The body of its response says why."
)
_REDIRECTED = Explanation(
    "The receiver redirected the request ({status}) to {target}. Webhooks do not follow redirects.",
    "If {target} is the receiver, use it as the webhook's URL.",
)
_REDIRECTED_NOWHERE = Explanation(
    "The receiver responded with a redirect ({status}), which webhooks do not follow.",
    "Use the address that the receiver is really at as the webhook's URL.",
)


def _explain_no_response(facts: Facts, *, translate: Translate) -> tuple[Explanation, Mapping[str, object]]:
    found = BY_CAUSE.get(facts.cause or "", _OTHER_FAILURE)  # type: ignore[call-overload]  # any text may be stored
    host = urlsplit(facts.url).hostname or translate(_SOME_HOST)
    seconds = translate(_SOME_TIME) if facts.seconds is None else f"{facts.seconds:.3g} s"
    return found, {"host": host, "seconds": seconds, "error": facts.error.rstrip(".")}


def _explain_status(status: int, *, location: str, url: str) -> tuple[Explanation, Mapping[str, object]]:
    if not 300 <= status <= 399:
        found = BY_STATUS.get(status) or _BY_CLASS.get(status // 100, _OTHER_STATUS)
        return found, {"status": status}
    if not location:
        return _REDIRECTED_NOWHERE, {"status": status}
    # The URL may be masked after its host, so only what the receiver wrote is shown of a relative one.
    return _REDIRECTED, {"status": status, "target": on_one_line(_absolute(location, url=url))[:LONGEST_TARGET]}


def _absolute(location: str, *, url: str) -> str:
    """Return the URL that a Location header means; what is no URL stays as it is."""
    try:
        return urljoin(urljoin(url, "/"), location)
    except ValueError:
        return location


def _header(lines: str, name: str) -> str:
    """Return the value of the first header with this lower-case name among ``Name: value`` lines, or ""."""
    for line in lines.splitlines():
        found, colon, value = line.partition(":")
        if colon and found.strip().lower() == name:
            return value.strip()
    return ""
