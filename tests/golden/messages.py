"""Messages whose bytes are fixed in every wire format; ``python -m tests.golden.messages SLUG`` writes a folder."""

import hashlib
import sys
from datetime import UTC, datetime
from pathlib import Path

from deliveries.formats import FORMATS, Message, Rendered

HERE = Path(__file__).parent
# Bodies longer than this are kept as their length and hash.
KEPT_MOST = 4096

NEWEST = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLDER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
OLDEST = "whsec_aGVsbG8gd29ybGQsIGhlbGxvIHdvcmxkLCBoaSE="

PUSH = Message(
    delivery_id="019cb8b8-1e00-753a-a23d-b63dc6d7ef09",
    attempt=1,
    event_id="019cb8b8-1e00-753a-8f00-0a1b2c3d4e5f",
    event_type="push",
    payload=b'{"ref":"refs/heads/main"}',
    occurred_at=datetime(2026, 3, 4, 12, 0, 0, 123456, tzinfo=UTC),
    sent_at=datetime(2026, 3, 4, 12, 0, 1, 999999, tzinfo=UTC),
    organization="acme",
    repository="widgets",
    webhook_id="019cb8b8-0000-7000-8000-0000000000ff",
    content_type="json",
    secrets=(NEWEST,),
)

MESSAGES = {
    "push": PUSH,
    "empty-object": PUSH._replace(payload=b"{}"),
    "utf-8": PUSH._replace(event_type="issues.opened", payload='{"title":"Grüße, 世界 🎉","null":"\\u0000"}'.encode()),
    # What the publisher wrote is what is sent: blanks, doubled keys and long numbers too.
    "verbatim": PUSH._replace(payload=b'{ "a" : 1,\n\t"a":1e400, "b":\r\n0.10000000000000000000001 }'),
    "scalar": PUSH._replace(payload=b"null", repository=None),
    "one-mebibyte": PUSH._replace(payload=b'{"x":"' + b"a" * (2**20 - 8) + b'"}'),
    "several-secrets": PUSH._replace(secrets=(NEWEST, OLDER, OLDEST)),
    "third-attempt": PUSH._replace(attempt=3, sent_at=datetime(2026, 3, 4, 12, 6, 0, tzinfo=UTC)),
    "on-the-second": PUSH._replace(occurred_at=datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)),
}


def as_golden(rendered: Rendered) -> bytes:
    """Write a request as it goes over the wire, of a long body only its length and hash."""
    body = rendered.body
    if len(body) > KEPT_MOST:
        body = f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}".encode()
    return "".join(f"{name}: {value}\n" for name, value in rendered.headers).encode() + b"\n" + body


def golden_of(slug: str, name: str) -> Path:
    """Give the file that holds the bytes of one message in one format."""
    return HERE / slug / f"{name}.http"


if __name__ == "__main__":
    slug = sys.argv[1]
    (HERE / slug).mkdir(exist_ok=True)
    for name, message in MESSAGES.items():
        golden_of(slug, name).write_bytes(as_golden(FORMATS[slug].render(message)))
