"""``verify``, which finds the format of a request and verifies it.

A new format costs one function beside this file and one line in ``FORMATS``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hookhub.receiving.code_storage import verify_code_storage
from hookhub.receiving.raw_body import (
    verify_codmir,
    verify_coregit,
    verify_github,
    verify_sigmagit,
    verify_social_gateway,
)
from hookhub.receiving.request import Headers, Received, Request, VerificationFailed, read_headers
from hookhub.receiving.standard_webhooks import verify_standard_webhooks

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
    now: datetime | None = None,
) -> Received:
    """Check a request's signature and return its event, or raise VerificationFailed.

    ``body`` is the request's body exactly as it came in: parsed and written again, it no longer matches. ``headers``
    are a mapping or pairs. ``secrets`` are all that may be in use (two while one is being rotated). Without ``format``
    the headers tell which one it is. ``tolerance`` is how old a request may be where the format signs its time
    (``standard-webhooks``, ``code-storage``), and of no length turns that check off; any other request can be replayed
    by whoever has seen it, so keep those behind TLS.
    """
    if not isinstance(body, bytes):
        raise TypeError(f"verify() needs the raw bytes of the body, not {type(body).__name__}")
    request = Request(
        body=body,
        headers=read_headers(headers),
        secrets=_listed(secrets),
        tolerance=tolerance,
        now=now or datetime.now(UTC),
    )
    return _find(format, headers=request.headers).verify(request)


def _listed(secrets: str | Sequence[str]) -> Sequence[str]:
    listed = [secrets] if isinstance(secrets, str) else list(secrets)
    if not listed or not all(listed):
        # An empty key would verify whatever an attacker signs with an empty key.
        raise ValueError("verify() needs at least one secret, and none may be empty")
    return listed


def _find(name: str | None, *, headers: Mapping[str, object]) -> VerifiableFormat:
    if name is not None:
        if name not in FORMATS:
            raise ValueError(f"verify() knows the formats {', '.join(FORMATS)}, not {name!r}")
        return FORMATS[name]
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
