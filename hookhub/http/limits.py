"""What a request's body may be, decided from its head alone, before a byte of the body is read."""

import html
import json
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

KIB = 1024

PUBLISHING = frozenset({("POST", "/v1/events"), ("POST", "/v1/events/validate")})
# Forms that anyone may send, with a user name and a password in them.
LOGIN_PATHS = frozenset({"/admin/login/", "/v1/auth/login/"})
FORM_PATHS = ("/admin/", "/v1/auth/")
# An event type may have a schema and an example of 64 KiB each, and a form spells most characters with three.
EVENT_TYPE_PATHS = ("/v1/event-types", "/admin/hookhub/owneventtype/")

MAX_FORM = 4 * KIB
MAX_BODY = 64 * KIB
MAX_EVENT_TYPE = 512 * KIB

# A line may lose a few packets before the first byte of a body arrives.
GRACE = timedelta(seconds=5)


class Head(NamedTuple):
    """The part of a request that decides how its body is read; ``path`` is without the prefix of the deployment.

    ``is_unmeasured`` is a body without a Content-Length: in chunks, or in HTTP/2.
    """

    method: str
    path: str
    content_type: str = ""
    content_length: str = ""
    is_unmeasured: bool = False
    has_key: bool = False
    has_session: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """The deployment's limits: bytes of a publishing request, its time in all, and bytes per second at least."""

    publish: int
    deadline: timedelta = timedelta(seconds=10)
    min_rate: int = 1000


class Refusal(NamedTuple):
    """An answer made without the application: a status, a code for programs, and a sentence for people."""

    status: int
    code: str
    message: str


def max_body(head: Head, *, limits: Limits) -> int:
    """Return how many bytes the body of a request with this head may have."""
    if (head.method, head.path) in PUBLISHING:
        # Without a key it will be refused, so it need not be read any further than other bodies.
        return limits.publish if head.has_key else min(MAX_BODY, limits.publish)
    if head.path in LOGIN_PATHS or (head.path.startswith(FORM_PATHS) and not head.has_session):
        return MAX_FORM
    return MAX_EVENT_TYPE if head.path.startswith(EVENT_TYPE_PATHS) else MAX_BODY


def refusal_of(head: Head, *, limits: Limits) -> Refusal | None:
    """Return why a request is refused before its body is read, or None when the body may be read."""
    # Django takes more for white space than HTTP does.
    if head.content_type.strip()[:10].lower() == "multipart/":
        return Refusal(415, "unsupported_media_type", "Multipart bodies and file uploads are not accepted; send JSON.")
    if not head.content_length:
        return None
    # Python reads "+1" and "1_000" as numbers too; a proxy in front may not.
    if not (head.content_length.isascii() and head.content_length.isdigit() and len(head.content_length) < 20):
        return Refusal(400, "malformed", "The Content-Length is not a number of bytes.")
    most = max_body(head, limits=limits)
    return too_large(head, most) if int(head.content_length) > most else None


def too_large(head: Head, most: int) -> Refusal:
    """Return the refusal of a body of more than ``most`` bytes."""
    advice = "; send the events in several requests" if (head.method, head.path) in PUBLISHING else ""
    return Refusal(413, "too_large", f"The request body is larger than {most:,} bytes{advice}.")


def seconds_allowed(received: int, *, limits: Limits) -> float:
    """Return how long after its first wait a body of which ``received`` bytes came may take to send its next byte."""
    return min(limits.deadline.total_seconds(), GRACE.total_seconds() + received / limits.min_rate)


# Of every refusal, for it may be a page: it loads nothing, nothing frames it, and nothing keeps it.
REFUSAL_HEADERS = (
    ("Content-Security-Policy", "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    ("X-Content-Type-Options", "nosniff"),
    ("Cache-Control", "no-store"),
)


def written(refusal: Refusal, *, accept: str) -> tuple[str, bytes]:
    """Return a refusal's media type and content: a page for browsers, the API's one shape for programs."""
    if "text/html" in accept:
        page = f"<!doctype html><title>{refusal.status}</title><p>{html.escape(refusal.message)}</p>"
        return "text/html; charset=utf-8", page.encode()
    error = {"code": refusal.code, "message": refusal.message, "fields": []}
    return "application/json", json.dumps({"error": error}).encode()
