"""Creates rows of every kind for requests to address."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from tests.receiver import Answer, Receiver

ORGANIZATION = "acme"
REPOSITORY = "widgets"
SPARE = "spare"
HOOKS = f"/repos/{ORGANIZATION}/{REPOSITORY}/hooks"
WEBHOOKS = f"/api/repositories/{ORGANIZATION}/{REPOSITORY}/webhooks"
EVENTS = 3


class Call(Protocol):
    """Calls the API with a master key of the organization, and returns the JSON of a successful response."""

    def __call__(self, method: str, path: str, body: object = None) -> Any: ...


@dataclass(frozen=True)
class Rows:
    """The rows that paths lead to: one of each pair may be deleted, and the spare key may be revoked."""

    hook: str
    hook_to_delete: str
    delivery: str
    webhook: str
    webhook_to_delete: str
    spare_key: str


def make(call: Call, receiver: Receiver, *, deliver: Callable[[], object]) -> Rows:
    """Create rows of every kind, including successful and failed deliveries.

    The organization must exist; ``deliver`` attempts all due deliveries.
    """
    for name in (REPOSITORY, SPARE):
        call("POST", "/v1/repositories", {"name": name})
    call("POST", "/v1/event-types", {"type": "build.finished", "schema": {"type": "object"}, "example": {"ok": 1}})
    receiver.answers["/bad"] = Answer(500, body=b"no")
    for path, more in (("/good", {}), ("/bad", {"retry_schedule": []}), ("/widgets", {"repository": REPOSITORY})):
        call("POST", "/v1/webhooks", {"url": receiver.url(path), "events": ["*"], **more})
    hooks = [call("POST", HOOKS, {"config": {"url": receiver.url(f"/{n}")}, "events": ["*"]})["id"] for n in "ab"]
    webhooks = [call("POST", WEBHOOKS, {"url": receiver.url(f"/sigmagit/{n}")})["data"]["id"] for n in "ab"]
    for number in range(EVENTS):
        call("POST", "/v1/events", {"type": "push", "data": {"n": number}, "repository": REPOSITORY})
    deliver()
    call("POST", "/v1/replays", {"state": ["failed"]})
    return Rows(
        hook=str(hooks[0]),
        hook_to_delete=str(hooks[1]),
        delivery=str(call("GET", f"{HOOKS}/{hooks[0]}/deliveries")[0]["id"]),
        webhook=webhooks[0],
        webhook_to_delete=webhooks[1],
        spare_key=call("POST", "/v1/api-keys", {"scope": "read"})["id"],
    )


def environment(rows: Rows, *, key: str, operator_key: str) -> dict[str, str]:
    """Return the variables that `schemathesis.toml` and the hooks read."""
    # What the whole run depends on, by path parameter, and what to change instead.
    spared = {
        "key_id": (key.split("_")[1], rows.spare_key),
        "slug": (ORGANIZATION, SPARE),
        "name": (REPOSITORY, SPARE),
    }
    return {
        "HOOKHUB_FUZZ_KEY": key,
        "HOOKHUB_FUZZ_OPERATOR_KEY": operator_key,
        "HOOKHUB_FUZZ_SPARED": json.dumps(spared),
        **{f"HOOKHUB_FUZZ_{name.upper()}": value for name, value in asdict(rows).items()},
    }
