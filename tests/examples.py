"""Records the story of the API as examples, with what differs from run to run replaced by what reads well."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from deliveries.version import VERSION
from hookhub.descriptions.examples import FILE
from tests.documents import Operation

# Sets every example anew, after an intended change: HOOKHUB_WRITE_EXAMPLES=1, or `make examples`.
WRITES = os.environ.get("HOOKHUB_WRITE_EXAMPLES") == "1"
BEGIN = datetime(2026, 3, 4, 12, tzinfo=UTC)
# What some answers have where there is no time; it does not move with the story.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Files of hundreds of pages, which their own descriptions describe.
TOO_LONG = {"GET /v1/asyncapi.json", "GET /v1/schemas.json"}
# Their answers have members named `type` and `example`, for which linters take them to be schemas with a wrong example.
LIKE_SCHEMAS = {
    "GET /v1/event-types", "POST /v1/event-types", "GET /v1/event-types/{name}", "PATCH /v1/event-types/{name}",
    "GET /v1/event-types/{name}/schema",
}  # fmt: skip
FORM = "application/x-www-form-urlencoded"
MAX_ROWS = 2
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
# Measured, counted or drawn: by the name of the member.
FIXED = {
    "duration": 0.042, "dns": 0.001, "connect": 0.004, "tls": 0.012, "first_byte": 0.031, "p50_ms": 42.0,
    "p95_ms": 87.0, "p99_ms": 120.0, "reset": 1772629200, "used": 1, "remaining": 5999, "limit": 6000,
    "cursor": "AAAAAAAAAQgAAAAAAAAAAQ", "webhook-timestamp": "1772625600", "request_id": "",
    "node_id": "MDQ6VXNlcjE=", "version": "1.0.0",
}  # fmt: skip
TEXTS = (
    (re.compile(r"http://(127\.0\.0\.1|localhost):8000"), "https://hookhub.example.com"),
    (re.compile(r"http://testserver"), "https://hookhub.example.com"),
    (re.compile(r"http://(127\.0\.0\.1|localhost):\d+"), "https://example.com"),
    (re.compile(r"(127\.0\.0\.1|localhost):\d+"), "example.com"),
    (re.compile(r"whsec_[A-Za-z0-9+/=]+"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
    (re.compile(r"hh_[0-9a-z]{12}_\w+"), "hh_0123456789ab_" + "x" * 43),
    (re.compile(r"(?<=[?&]cursor=)[^&]+"), "cD0wMTljYjhiOA%3D%3D"),
    (re.compile(r"(?<=[?&]token=)[^&]+"), "pl_" + "x" * 43),
    (re.compile(r"(?m)^(Date|Server): .*\n?"), ""),
    (re.compile(r"v1,[A-Za-z0-9+/=]{44}"), "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="),
    (re.compile(r"(?<=webhook-timestamp: )\d+"), "1772625600"),
    (re.compile(r"(?<![0-9a-f=])[0-9a-f]{64}(?![0-9a-f])"), "5f" * 32),
    (re.compile(r"(?<=sha1=)[0-9a-f]{40}"), "0" * 40),
    (re.compile(r"(?<=sha256=)[0-9a-f]{64}"), "0" * 64),
    (re.compile(re.escape(f"HookHub/{VERSION}")), "HookHub/1.0.0"),
    (re.compile(r"(?<![0-9a-f-])[0-9a-f]{12}(?=[:;,= ]|$)"), "0123456789ab"),
)  # fmt: skip


class Recording:
    """The first request and the first successful answer of each operation, as examples."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self._begun_at = datetime.now(UTC)
        self._ids: dict[str, str] = {}
        self._numbers: dict[int, int] = {}

    def keep(self, operation: Operation, media: str, body: object, status: int, answer: Any) -> None:
        """Record a call: the first request of each media type, and the first answer."""
        label = f"{operation.method} {operation.path}"
        if label in TOO_LONG:
            return
        is_first = label not in self.found
        row = self.found.setdefault(label, {"requests": {}})
        if body is not None and media not in row["requests"]:
            said = body.decode() if isinstance(body, bytes) else body
            # A form is described by its fields.
            row["requests"][media] = self._plain(dict(parse_qsl(str(said))) if media == FORM else said)
        if is_first and answer is not None and label not in LIKE_SCHEMAS:
            row["response"] = {"status": str(status), "value": self._plain(answer, cut=True)}

    def _plain(self, value: Any, name: str = "", *, cut: bool = False) -> Any:
        if isinstance(value, dict):
            return {self._text(key): self._plain(inner, key, cut=cut) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._plain(inner, name, cut=cut) for inner in (value[:MAX_ROWS] if cut else value)]
        if name in FIXED and value is not None and not isinstance(value, dict):
            return FIXED[name]
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int) and not isinstance(value, bool) and (name == "id" or name.endswith("_id")):
            return self._number(value)
        return value

    def _text(self, text: str) -> str:
        for pattern, replacement in TEXTS[:4]:
            text = pattern.sub(replacement, text)
        text = UUID.sub(lambda found: self._id(found[0]), text)
        text = TIME.sub(lambda found: self._time(found[0]), text)
        for pattern, replacement in TEXTS[4:]:
            text = pattern.sub(replacement, text)
        return re.sub(r"(?<=/hooks/)\d+", lambda found: str(self._number(int(found[0]))), text)

    def _id(self, found: str) -> str:
        return self._ids.setdefault(found, f"019cb8b8-1e00-7000-8000-{len(self._ids) + 1:012d}")

    def _number(self, found: int) -> int:
        return self._numbers.setdefault(found, 1001 + len(self._numbers))

    def _time(self, found: str) -> str:
        moment = datetime.fromisoformat(found)
        if moment == EPOCH:
            return found
        distance = moment - self._begun_at
        # A story takes seconds, and a machine may be slow; the steps of statistics begin at full hours and days.
        unit = timedelta(minutes=15) if abs(distance) < timedelta(hours=12) else timedelta(days=1)
        count = round(distance / unit) if unit < timedelta(days=1) or distance > timedelta(0) else ceil(distance / unit)
        return f"{BEGIN + count * unit:%Y-%m-%dT%H:%M:%SZ}"


def compare(found: Any, file: Path = FILE) -> None:
    """Fail unless a file of examples has those that were found; write it instead where that is asked for.

    Rows of the same millisecond are in any order, so answers are only recorded; their schemas say what is in them.
    """
    if WRITES:
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    stored = json.loads(file.read_text())
    differing = [label for label in {*stored, *found} if lasting(stored.get(label)) != lasting(found.get(label))]
    assert differing == [], "these examples differ; write them anew with: make examples"


def lasting(example: Any) -> Any:
    """Return what is the same in each run: an error, or the requests of an operation and the status of its answer."""
    if not isinstance(example, dict) or "requests" not in example:
        return example
    return example["requests"], example.get("response", {}).get("status")
