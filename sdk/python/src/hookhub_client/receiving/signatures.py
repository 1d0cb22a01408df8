"""Determines the format of a request and verifies it.

A new format takes one function in this package and one line in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from .code_storage import verify_code_storage
from .raw_body import (
    verify_codmir,
    verify_coregit,
    verify_github,
    verify_sigmagit,
    verify_social_gateway,
    verify_websub,
)
from .request import Headers, Received, Request, VerificationFailed, read_headers
from .standard_webhooks import (
    read_key,
    verify_cloudevents,
    verify_cloudevents_binary,
    verify_mcp_event,
    verify_standard_webhooks,
)

TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class VerifiableFormat:
    """How a format is verified, and the header that indicates it; None if a request alone does not.

    ``has_coded_secret`` if its secrets are ``whsec_`` followed by base64, and not any text.
    """

    told_by: str | None
    verify: Callable[[Request], Received]
    has_coded_secret: bool = False


FORMATS: Mapping[str, VerifiableFormat] = {
    "standard-webhooks": VerifiableFormat("webhook-signature", verify_standard_webhooks, has_coded_secret=True),
    "coregit": VerifiableFormat("x-coregit-signature", verify_coregit),
    "code-storage": VerifiableFormat("x-pierre-signature", verify_code_storage),
    "sigmagit": VerifiableFormat("x-sigmagit-signature", verify_sigmagit),
    # These two share a signature header, so the event header identifies them.
    "social-gateway": VerifiableFormat("x-socialgateway-event", verify_social_gateway),
    "github": VerifiableFormat("x-github-event", verify_github),
    "codmir": VerifiableFormat("x-codmir-signature", verify_codmir),
    # These have the signature of another format, so that they must be named.
    "cloudevents": VerifiableFormat(None, verify_cloudevents, has_coded_secret=True),
    "cloudevents-binary": VerifiableFormat("ce-id", verify_cloudevents_binary, has_coded_secret=True),
    "mcp-event": VerifiableFormat("x-mcp-subscription-id", verify_mcp_event, has_coded_secret=True),
    "websub": VerifiableFormat(None, verify_websub),
}


def verify(
    body: bytes,
    headers: Headers,
    *,
    secrets: str | Sequence[str],
    format: str | None = None,
    tolerance: timedelta = TOLERANCE,
    max_event_age: timedelta | None = None,
    now: datetime | None = None,
) -> Received:
    """Verify a request's signature and return its event; raise VerificationFailed.

    ``body`` is the raw body (bytes): JSON that was parsed and serialized again no longer matches its signature.
    ``headers`` is the framework's mapping, or an iterable of (name, value) pairs. ``secrets`` is one secret or all that
    are valid (two during a rotation). ``format`` is the wire format of the webhook, one of ``FORMATS``. Always pass it:
    without it the headers determine the format, and they are under the sender's control.

    ``tolerance`` is the maximum age of a request whose own time is signed (``code-storage``, and the formats signed as
    ``standard-webhooks``); ``timedelta(0)`` turns the check off. ``coregit`` and ``codmir`` sign the time of the event,
    which is the same on every retry: ``max_event_age`` rejects older events, None accepts any age. The other formats
    sign no time, so that a captured request can be replayed at any time: receive those over TLS only.

    ``now`` (with a time zone) replaces the clock in tests.

    Raise ValueError or TypeError for a mistake of the caller, whatever the request holds: no secret, an unknown format,
    a secret that ``format`` cannot have, a body that is not bytes, a tolerance that is no timedelta.

        received = verify(request.body, request.headers, secrets="whsec_…", format="standard-webhooks")
    """
    if not isinstance(body, bytes):
        raise TypeError(f"verify() requires the raw body as bytes, not {type(body).__name__}")
    if format is not None and format not in FORMATS:
        raise ValueError(f"unknown format {format!r}; use one of {', '.join(FORMATS)}")
    listed = _listed(secrets)
    if format is not None and FORMATS[format].has_coded_secret and not all(map(read_key, listed)):
        raise ValueError(f"a {format} secret is 'whsec_' followed by base64; copy it exactly as HookHub showed it")
    _require_spans(tolerance, max_event_age)
    if now is not None and now.utcoffset() is None:
        raise ValueError("now must have a time zone")
    request = Request(
        body=body,
        headers=read_headers(headers),
        secrets=listed,
        tolerance=tolerance,
        max_event_age=max_event_age,
        now=now or datetime.now(timezone.utc),
    )
    found = _find(request.headers) if format is None else FORMATS[format]
    return found.verify(request)


def _require_spans(tolerance: object, max_event_age: object) -> None:
    """Raise TypeError or ValueError for a span that is none: None as a tolerance would turn the check off unnoticed."""
    spans = {"tolerance": tolerance, **({} if max_event_age is None else {"max_event_age": max_event_age})}
    for name, span in spans.items():
        if not isinstance(span, timedelta):
            raise TypeError(f"{name} must be a timedelta, such as timedelta(minutes=5), not {type(span).__name__}")
        if span < timedelta(0):
            raise ValueError(f"{name} must not be negative")


def _listed(secrets: str | Sequence[str]) -> Sequence[str]:
    listed = [secrets] if isinstance(secrets, str) else list(secrets)
    if not listed or not all(listed):
        # An attacker can sign with an empty key, too.
        raise ValueError("verify() requires at least one secret, and none may be empty")
    for secret in listed:
        if not isinstance(secret, str):
            raise TypeError(f"verify() requires secrets as str, not {type(secret).__name__}")
        if any("\ud800" <= character <= "\udfff" for character in secret):
            raise ValueError("a secret contains a lone surrogate, which cannot be encoded")
    return listed


def _find(headers: Mapping[str, object]) -> VerifiableFormat:
    """Return the only format whose header is present; raise VerificationFailed if there is none, or more than one."""
    found = [each for each in FORMATS.values() if each.told_by in headers]
    if len(found) == 1:
        return found[0]
    known = ", ".join(each.told_by for each in FORMATS.values() if each.told_by)
    # A guess would let the sender choose the weaker of two formats.
    raise VerificationFailed(
        f"The request has signatures of several formats; pass format= to verify() ({', '.join(FORMATS)})."
        if found
        else f"The request has no known signature header ({known})."
    )
