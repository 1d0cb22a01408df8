"""``verify``, which finds the format of a request and verifies it.

A new format costs one function beside this file and one line in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from hookhub.receiving.code_storage import verify_code_storage
from hookhub.receiving.raw_body import (
    verify_codmir,
    verify_coregit,
    verify_github,
    verify_sigmagit,
    verify_social_gateway,
)
from hookhub.receiving.request import Headers, Received, Request, VerificationFailed, read_headers
from hookhub.receiving.standard_webhooks import read_key, verify_standard_webhooks

TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True)
class VerifiableFormat:
    """How a format is recognised (by a header that no other has) and verified."""

    told_by: str
    verify: Callable[[Request], Received]


FORMATS: Mapping[str, VerifiableFormat] = {
    "standard-webhooks": VerifiableFormat("webhook-signature", verify_standard_webhooks),
    "coregit": VerifiableFormat("x-coregit-signature", verify_coregit),
    "code-storage": VerifiableFormat("x-pierre-signature", verify_code_storage),
    "sigmagit": VerifiableFormat("x-sigmagit-signature", verify_sigmagit),
    # These two sign under the same name.
    "social-gateway": VerifiableFormat("x-socialgateway-event", verify_social_gateway),
    "github": VerifiableFormat("x-github-event", verify_github),
    "codmir": VerifiableFormat("x-codmir-signature", verify_codmir),
}


def verify(
    body: bytes,
    headers: Headers,
    *,
    secrets: str | Sequence[str],
    format: str | None = None,  # noqa: A002 - the API's own word for it.
    tolerance: timedelta = TOLERANCE,
    max_event_age: timedelta | None = None,
    now: datetime | None = None,
) -> Received:
    """Check a request's signature and return its event, or raise VerificationFailed.

    ``body`` is the request's body exactly as it came in: parsed and written again, it no longer matches. ``headers``
    are a mapping or pairs. ``secrets`` are all that may be in use (two while one is being rotated). ``format`` is the
    webhook's; without it the headers decide, and so does whoever sends the request.

    ``tolerance`` is how old a request may be where its own time is signed (``standard-webhooks``, ``code-storage``);
    of no length it turns that check off. ``coregit`` and ``codmir`` sign when the event happened, which stays the same
    on every retry: ``max_event_age`` refuses events older than that, and None takes them however old. The other formats
    sign no time: their requests can be sent again by whoever has seen them, so keep those behind TLS.

    A mistake of the receiver's own (no secret, an unknown format, a secret that ``format`` cannot have, a body that is
    no bytes) is a ValueError or TypeError for every request alike, whatever it holds.
    """
    if not isinstance(body, bytes):
        raise TypeError(f"verify() needs the raw bytes of the body, not {type(body).__name__}")
    if format is not None and format not in FORMATS:
        raise ValueError(f"verify() knows the formats {', '.join(FORMATS)}, not {format!r}")
    listed = _listed(secrets)
    if format == "standard-webhooks" and not all(map(read_key, listed)):
        raise ValueError("a standard-webhooks secret is 'whsec_' and base64, as HookHub showed it")
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


def _listed(secrets: str | Sequence[str]) -> Sequence[str]:
    listed = [secrets] if isinstance(secrets, str) else list(secrets)
    if not listed or not all(listed):
        # An empty key would verify whatever an attacker signs with an empty key.
        raise ValueError("verify() needs at least one secret, and none may be empty")
    for secret in listed:
        if not isinstance(secret, str):
            raise TypeError(f"verify() needs its secrets as text, not {type(secret).__name__}")
        if any("\ud800" <= character <= "\udfff" for character in secret):
            raise ValueError("verify() cannot sign with a secret that holds half a surrogate pair")
    return listed


def _find(headers: Mapping[str, object]) -> VerifiableFormat:
    """Return the one format whose header is there, or refuse the request."""
    found = [each for each in FORMATS.values() if each.told_by in headers]
    if len(found) == 1:
        return found[0]
    known = ", ".join(each.told_by for each in FORMATS.values())
    # Guessing would let the sender choose the weaker of two.
    raise VerificationFailed(
        f"The request has signatures of several formats; tell verify() which one to expect ({', '.join(FORMATS)})."
        if found
        else f"The request has no signature header (looked for {known})."
    )
