"""The wire format of MCP Events: one event per request, signed as by Standard Webhooks."""

from collections.abc import Mapping

from deliveries.compact_json import encode
from deliveries.formats import standard_webhooks
from deliveries.formats.base import Format, Message, Rendered, Verdict, stamp
from deliveries.formats.body_schemas import TEXT, TIME, Schema, object_of
from deliveries.formats.policies import Policy
from deliveries.version import USER_AGENT

# The longest body that receivers take.
MAX_BODY = 262_144
SUBSCRIPTION_ID = "X-MCP-Subscription-Id"
# Where events are read, below the address of a subscriber's HookHub.
EVENTS_PATH = "/v1/events/"
# What is sent in place of an event's data that is too long.
SUMMARY_SCHEMA: Mapping[str, object] = {
    "type": "object",
    "description": "In place of data that is too long to be sent.",
    "properties": {"summary": {"type": "string"}, "bytes": {"type": "integer"}, "url": {"type": "string"}},
    "required": ["summary", "bytes", "url"],
}

# A type that is null alone is one that generators of clients do not have.
NO_CURSOR: Schema = {"type": ["string", "null"], "description": "Always null."}


class McpEvent(Format):
    """https://developers.openai.com/plugins/build/mcp-events: the event's id is the message's, on every attempt.

    An event that would be too long is replaced by a summary that says where to read it.
    """

    slug = "mcp-event"
    title = "MCP Event"
    reserved_headers = standard_webhooks.HEADERS | {"content-type", "user-agent", SUBSCRIPTION_ID.lower()}
    header_notes = standard_webhooks.NOTES | {
        "webhook-id": "Id of the event, the same on every attempt: process each id once.",
        SUBSCRIPTION_ID: "Id of the subscription that the event is for.",
    }
    # A subscription ends with its lease, unless the subscriber renews it.
    policy = Policy(auto_disable=False)

    def render(self, message: Message) -> Rendered:
        subscription = message.subscription or {}
        body = _body(message, data=message.payload)
        if len(body) > MAX_BODY:
            address = subscription.get("events", EVENTS_PATH)
            summary = summary_of(message.event_id, size=len(message.payload), address=address)
            body = _body(message, data=encode(summary))
        return Rendered(
            headers=(
                ("Content-Type", "application/json"),
                ("User-Agent", USER_AGENT),
                *standard_webhooks.sign(message._replace(delivery_id=message.event_id), body),
                (SUBSCRIPTION_ID, subscription.get("id", message.webhook_id)),
            ),
            body=body,
        )

    def body_schema(self, data: Schema) -> Schema:
        # Data without a schema may be anything, and so may be the summary.
        either = {"anyOf": [data, SUMMARY_SCHEMA]} if data else data
        return object_of(eventId=TEXT, name=TEXT, timestamp=TIME, data=either, cursor=NO_CURSOR)

    def verdict_on(self, status: int, body: bytes = b"") -> Verdict | None:
        return "reject" if status == 413 else None

    def make_secret(self) -> str:
        return standard_webhooks.make_secret()

    def secret_error(self, secret: str) -> str | None:
        return standard_webhooks.secret_error(secret)


def _body(message: Message, *, data: bytes) -> bytes:
    return b'{"eventId":%s,"name":%s,"timestamp":"%s","data":%s,"cursor":null}' % (
        encode(message.event_id),
        encode(name_of(message)),
        stamp(message.occurred_at, milliseconds=True).encode(),
        data,
    )


def name_of(message: Message) -> str:
    """Return the name under which an event was subscribed to; its type if it is sent for another reason, as a ping is.

    Type and name may differ by the action that one of them has: ``issues`` and ``issues.opened``.
    """
    event_type = message.event_type
    name = (message.subscription or {}).get("name", event_type)
    is_same = f"{name}.".startswith(f"{event_type}.") or f"{event_type}.".startswith(f"{name}.")
    return name if is_same else event_type


def summary_of(event_id: str, *, size: int, address: str) -> dict[str, object]:
    """Return what is sent in place of an event's data of this size; events are read below the ``address``."""
    return {
        "summary": f"This event is longer than {MAX_BODY:,} bytes. Read it at its url, with an API key.",
        "bytes": size,
        "url": f"{address}{event_id}",
    }
