"""Messages whose bytes are fixed in every wire format; ``python -m tests.golden.messages SLUG`` writes a folder."""

import hashlib
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deliveries.formats import FORMATS, Format, Message, Rendered, SecretPolicy
from deliveries.version import USER_AGENT

HERE = Path(__file__).parent
# Stands for HookHub's own User-Agent.
VERSIONLESS = "HookHub/VERSION"
# Longer bodies are stored as their length and hash.
MAX_KEPT = 4096

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
    webhook_number=292430182,
    scope="repository",
    scope_number=79929171,
    content_type="json",
    secrets=(NEWEST,),
    subscription={
        "topic": "https://hooks.example/acme/widgets/events/push.json", "hub": "https://hooks.example/hub",
        "algorithm": "sha256", "id": "sub_2f7c", "events": "https://hooks.example/v1/events/",
    },
)  # fmt: skip


def about(event_type: str, data: object, **more: Any) -> Message:
    """Return a message with this data, serialized as JavaScript does."""
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return PUSH._replace(event_type=event_type, payload=written, **more)


ZEROS = "0" * 40
BEFORE = "9049f1265b7d61be4a8904a9a27120d2064dab3b"
AFTER = "0d1a26e67d8f5eaf1f6ba5c57fc3c7d91ac0fd1c"
# Sigmagit's shapes.
SIGMAGIT_REPOSITORY = {"id": "r1", "owner": "ada", "name": "engine", "url": "https://sigmagit.example/ada/engine"}
ADA = {"id": "u1", "username": "ada", "name": "Ada Lovelace"}
CHARLES = {"id": "u2", "username": "charles"}
SIGMAGIT_ISSUE = {
    "action": "opened",
    "repository": SIGMAGIT_REPOSITORY,
    "issue": {
        "id": "i7",
        "number": 7,
        "title": "Carry is lost in <column> 9 & 10 🎉",
        "body": "Steps:\n1. turn the *crank*\n2. look: <!channel> <@U123> @everyone `9 + 1 = 0`",
        "state": "open",
        "author": ADA,
        "labels": [{"id": "l1", "name": "bug"}, {"id": "l2", "name": "größer"}],
        "assignees": [CHARLES],
        "url": "https://sigmagit.example/ada/engine/issues/7?a=1&b=2",
        "createdAt": "2026-03-04T11:59:00.000Z",
        "updatedAt": "2026-03-04T11:59:30.000Z",
    },
    "sender": {"id": "u1", "username": "ada"},
}
SIGMAGIT_PULL_REQUEST = {
    "action": "merged",
    "repository": SIGMAGIT_REPOSITORY,
    "pullRequest": {
        "id": "p8",
        "number": 8,
        "title": "Carry by anticipation",
        "body": None,
        "state": "merged",
        "author": CHARLES,
        "baseRepo": {"id": "r1", "name": "engine"},
        "headRepo": {"id": "r2", "name": "engine-fork"},
        "baseBranch": "main",
        "headBranch": "anticipate",
        "url": "https://sigmagit.example/ada/engine/pulls/8",
        "createdAt": "2026-03-03T10:00:00.000Z",
        "updatedAt": "2026-03-04T11:00:00.000Z",
    },
    "sender": {"id": "u1", "username": "ada"},
}
SIGMAGIT_PUSH: dict[str, Any] = {
    "repository": SIGMAGIT_REPOSITORY,
    "pusher": {"id": "u1", "username": "ada"},
    "ref": "refs/heads/main",
    "before": BEFORE,
    "after": AFTER,
    "commits": [
        {
            "oid": "7f3b1c0a9d2e4f5a6b7c8d9e0f1a2b3c4d5e6f70",
            "message": "Grüße from <b>the mill</b>\n\nand more",
            "author": {"name": "Ada Lovelace", "email": "ada@example.com"},
            "timestamp": 1772625540,
        },
        {
            "oid": AFTER,
            "message": "Turn the crank 🎉",
            "author": {"name": "Charles", "email": "charles@example.com"},
            "timestamp": 1772625600,
        },
    ],
    "totalCommits": 12,
    "sender": {"id": "u1", "username": "ada"},
}
# GitHub's shapes.
GITHUB_REPOSITORY = {
    "id": 79929171,
    "name": "engine",
    "full_name": "ada/engine",
    "private": False,
    "owner": {"login": "ada", "id": 1, "type": "User"},
    "html_url": "https://forge.example/ada/engine",
    "url": "https://api.forge.example/repos/ada/engine",
}
GITHUB_PULL_REQUEST = {
    "action": "closed",
    "number": 8,
    "pull_request": {
        "url": "https://api.forge.example/repos/ada/engine/pulls/8",
        "html_url": "https://forge.example/ada/engine/pull/8",
        "number": 8,
        "state": "closed",
        "title": "Carry by _anticipation_",
        "user": {"login": "charles", "id": 2},
        "body": "| a | b |\n# heading\n- list",
        "labels": [{"id": 1, "name": "speed"}],
        "assignees": [],
        "created_at": "2026-03-03T10:00:00Z",
        "merged": True,
        "head": {"label": "charles:anticipate", "ref": "anticipate"},
        "base": {"label": "ada:main", "ref": "main"},
    },
    "repository": GITHUB_REPOSITORY,
    "sender": {"login": "ada", "id": 1},
}
GITHUB_PUSH: dict[str, Any] = {
    "ref": "refs/heads/main",
    "before": BEFORE,
    "after": AFTER,
    "created": False,
    "deleted": False,
    "forced": False,
    "compare": "https://forge.example/ada/engine/compare/9049f1265b7d...0d1a26e67d8f",
    "commits": [
        {
            "id": AFTER,
            "message": "Turn the crank",
            "timestamp": "2026-03-04T12:00:00Z",
            "url": f"https://forge.example/ada/engine/commit/{AFTER}",
            "author": {"name": "Charles", "email": "charles@example.com", "username": "charles"},
        }
    ],
    "repository": GITHUB_REPOSITORY,
    "pusher": {"name": "ada", "email": "ada@example.com"},
    "sender": {"login": "ada", "id": 1},
}

MESSAGES = {
    "push": PUSH,
    "empty-object": PUSH._replace(payload=b"{}"),
    "utf-8": PUSH._replace(event_type="issues.opened", payload='{"title":"Grüße, 世界 🎉","null":"\\u0000"}'.encode()),
    # The publisher's bytes are sent unchanged, including whitespace, duplicate keys and long numbers.
    "verbatim": PUSH._replace(payload=b'{ "a" : 1,\n\t"a":1e400, "b":\r\n0.10000000000000000000001 }'),
    "scalar": PUSH._replace(payload=b"null", repository=None, scope="organization", scope_number=7),
    "one-mebibyte": PUSH._replace(payload=b'{"x":"' + b"a" * (2**20 - 8) + b'"}'),
    "several-secrets": PUSH._replace(secrets=(NEWEST, OLDER, OLDEST)),
    "third-attempt": PUSH._replace(attempt=3, sent_at=datetime(2026, 3, 4, 12, 6, 0, tzinfo=UTC)),
    "on-the-second": PUSH._replace(occurred_at=datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)),
    "sigmagit-issue": about("issues.opened", SIGMAGIT_ISSUE),
    "sigmagit-pull-request": about("pull_request.merged", SIGMAGIT_PULL_REQUEST),
    "sigmagit-push": about("push", SIGMAGIT_PUSH),
    "github-pull-request": about("pull_request", GITHUB_PULL_REQUEST),
    "github-push": about("push", GITHUB_PUSH),
    "push-without-commits": about("push", {**GITHUB_PUSH, "commits": []}),
    "forced-push": about("push", {**GITHUB_PUSH, "forced": True}),
    "branch-deleted": about("push", {**GITHUB_PUSH, "after": ZEROS, "deleted": True, "commits": []}),
    "sync-failed": about("repo.sync.failed", {"run_count": 3, "is_first_sync": False, "error": "internal error"}),
}


def messages_for(wire_format: Format) -> dict[str, Message]:
    """Return the messages that webhooks of a format can get, by name."""
    if not wire_format.secret_policy.allows_secret:
        return {name: message._replace(secrets=()) for name, message in MESSAGES.items()}
    found = dict(MESSAGES)
    if "form" in wire_format.content_types:
        in_forms = ("push", "utf-8", "verbatim", "one-mebibyte", "sigmagit-issue")
        found |= {f"form-{name}": MESSAGES[name]._replace(content_type="form") for name in in_forms}
    if wire_format.secret_policy is SecretPolicy.OPTIONAL:
        found["without-a-secret"] = PUSH._replace(secrets=())
    return found


def as_golden(rendered: Rendered) -> bytes:
    """Return a request as bytes on the wire; a long body is replaced by its length and hash."""
    body = rendered.body
    if len(body) > MAX_KEPT:
        body = f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}".encode()
    # A release changes nothing else about the bytes.
    headers = [(name, VERSIONLESS if value == USER_AGENT else value) for name, value in rendered.headers]
    return "".join(f"{name}: {value}\n" for name, value in headers).encode() + b"\n" + body


def golden_of(slug: str, name: str) -> Path:
    """Return the file that holds the bytes of one message in one format."""
    return HERE / slug / f"{name}.http"


if __name__ == "__main__":
    slug = sys.argv[1]
    (HERE / slug).mkdir(exist_ok=True)
    for name, message in messages_for(FORMATS[slug]).items():
        golden_of(slug, name).write_bytes(as_golden(FORMATS[slug].render(message)))
