"""Decides from a request's head which body it may have, before a byte of the body is read."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from hookhub.http.early_refusals import EarlyRefusal

KIB = 1024

PUBLISHING = frozenset({("POST", "/v1/events"), ("POST", "/v1/events/validate")})
# The hub's clients send forms as `curl -F` does. Nothing else reads a multipart body.
MULTIPART = frozenset({("POST", "/hub"), ("POST", "/api/v3/hub")})
# The login forms, which any client may send: they hold only a user name and a password.
LOGIN_PATHS = frozenset({"/admin/login/", "/v1/auth/login/", "/accounts/login/"})
FORM_PATHS = ("/admin/", "/v1/auth/", "/accounts/")
# An event type may have a schema and an example of 64 KiB each, and form encoding triples most characters.
EVENT_TYPE_PATHS = ("/v1/event-types", "/admin/hookhub/customeventtype/")

MAX_FORM = 4 * KIB
MAX_BODY = 64 * KIB
MAX_EVENT_TYPE = 512 * KIB

# Packet loss may delay the first byte of a body.
GRACE = timedelta(seconds=5)


class Head(NamedTuple):
    """The parts of a request that decide how its body is read; ``path`` excludes the prefix of the deployment.

    ``is_unmeasured`` means that the body has no Content-Length, because it is chunked or sent by HTTP/2.
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
    """The deployment's limits: bytes of a publishing request, total time for a body, minimum bytes per second."""

    publish: int
    deadline: timedelta = timedelta(seconds=10)
    min_rate: int = 1000


def max_body(head: Head, *, limits: Limits) -> int:
    """Return the maximum size, in bytes, of the body of a request with this head."""
    if (head.method, head.path) in PUBLISHING:
        # Without a key it will be refused, so no more is read of it than of other requests.
        return limits.publish if head.has_key else min(MAX_BODY, limits.publish)
    if head.path in LOGIN_PATHS or (head.path.startswith(FORM_PATHS) and not head.has_session):
        return MAX_FORM
    return MAX_EVENT_TYPE if head.path.startswith(EVENT_TYPE_PATHS) else MAX_BODY


def refusal_of(head: Head, *, limits: Limits) -> EarlyRefusal | None:
    """Return the refusal of a request whose body must not be read, or None."""
    # ``strip`` removes what Django takes for white space, which is more than HTTP does.
    is_multipart = head.content_type.strip()[:10].lower() == "multipart/"
    if is_multipart and (head.method, head.path) not in MULTIPART:
        return EarlyRefusal(
            415, "unsupported_media_type", "Multipart bodies and file uploads are not supported; send JSON."
        )
    if not head.content_length:
        return None
    # Python also parses "+1" and "1_000" as numbers; a proxy in front may not.
    if not (head.content_length.isascii() and head.content_length.isdigit() and len(head.content_length) < 20):
        return EarlyRefusal(400, "malformed", "The Content-Length is invalid.")
    most = max_body(head, limits=limits)
    return too_large(head, most) if int(head.content_length) > most else None


def too_large(head: Head, most: int) -> EarlyRefusal:
    """Return the refusal of a body of more than ``most`` bytes."""
    advice = "; split the events into several requests" if (head.method, head.path) in PUBLISHING else ""
    return EarlyRefusal(413, "too_large", f"The request body exceeds {most:,} bytes{advice}.")


def seconds_allowed(received: int, *, limits: Limits) -> float:
    """Return how many seconds after reading began the next byte is due, once ``received`` bytes have arrived."""
    return min(limits.deadline.total_seconds(), GRACE.total_seconds() + received / limits.min_rate)
