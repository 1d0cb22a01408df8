"""The tools: read-only, and of deliveries only those of the caller's own subscriptions."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

from deliveries import compact_json
from deliveries.db import arrays, sql
from deliveries.db.lookups import find_one
from deliveries.formats.base import stamp
from deliveries.formats.mcp_event import EVENTS_PATH, MAX_BODY, summary_of
from deliveries.models import Attempt, Delivery, Event, Webhook
from deliveries.policy import filters
from deliveries.webhooks import mcp_subscribing
from hookhub.event_types import validation
from hookhub.event_types.validation import Budget
from hookhub.http.links import url_of
from hookhub.mcp import event_types
from hookhub.mcp.context import Context
from hookhub.mcp.event_types import REPOSITORY
from hookhub.mcp.jsonrpc import invalid_params

DEFAULT_EVENTS, MAX_EVENTS = 5, 50
# How many deliveries are looked through for events that match the arguments, and how many bytes of data are returned.
MAX_SCANNED = 200
MAX_RETURNED = 1024 * 1024
MAX_ATTEMPTS = 20
READ_ONLY = {"readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False}


class ToolError(Exception):
    """The tool cannot do what is asked; the agent is told why."""


class Tool(NamedTuple):
    """A tool: its description, the schema of its arguments, and what it does."""

    description: str
    properties: Mapping[str, object]
    required: tuple[str, ...]
    run: Callable[[Mapping[str, Any], Context], dict[str, Any]]

    @property
    def input_schema(self) -> dict[str, object]:
        """Return the JSON Schema of the arguments."""
        schema: dict[str, object] = {"type": "object", "properties": self.properties, "additionalProperties": False}
        return {**schema, "required": list(self.required)} if self.required else schema


def listed() -> dict[str, Any]:
    """Return the tools as tools/list does."""
    rows = [
        {"name": name, "description": tool.description, "inputSchema": tool.input_schema, "annotations": READ_ONLY}
        for name, tool in TOOLS.items()
    ]
    return {"tools": rows}


def call(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the result of tools/call; raise RpcError for an unknown tool."""
    name, arguments = params.get("name"), params.get("arguments")
    arguments = {} if arguments is None else arguments
    tool = TOOLS.get(name) if isinstance(name, str) else None
    if tool is None:
        raise invalid_params(f"name must be one of the tools: {', '.join(TOOLS)}.")
    if not isinstance(arguments, dict):
        raise invalid_params("arguments must be an object.")
    schema = compact_json.encode(tool.input_schema).decode()
    errors = validation.errors_in(arguments, schema, budget=Budget())
    if errors:
        return _refused("; ".join(f"arguments{path.removeprefix('data')} {text}" for path, text in errors.items()))
    try:
        found = tool.run(arguments, context)
    except ToolError as error:
        return _refused(str(error))
    text = compact_json.encode(found).decode()
    return {"content": [{"type": "text", "text": text}], "structuredContent": found, "isError": False}


def _refused(message: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": message}], "isError": True}


def list_event_types(arguments: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the names of all event types, with what they may be filtered by."""
    del arguments
    rows = [
        {"name": each.name, "description": each.description, "arguments": list(each.input_schema["properties"])}
        for each in event_types.definitions(context.organization).values()
    ]
    return {"eventTypes": rows}


def get_recent_events(arguments: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the newest events that were sent, or are to be sent, to the caller; each once."""
    limit = int(max(1, min(arguments.get("limit", DEFAULT_EVENTS), MAX_EVENTS)))
    own = mcp_subscribing.of_caller(context.organization.pk, context.caller).select_related("repository")
    if "name" in arguments:
        own = own.filter(subscription__name=arguments["name"])
    webhooks = {webhook.pk: webhook for webhook in own}
    address = url_of(EVENTS_PATH, context.request)
    rows: dict[UUID, dict[str, Any]] = {}
    size = 0
    values = arguments.get("arguments", {})
    for delivery in _latest_of(webhooks):
        if delivery.event_id in rows:
            continue
        event = find_one(Event.objects.select_related("repository").filter(pk=delivery.event_id))
        if event is None or not _passes(event, values):
            continue
        row = _shown(delivery, webhooks[delivery.webhook_id], event, address=address)
        size += len(compact_json.encode(row))
        if size > MAX_RETURNED and rows:
            break
        rows[event.pk] = row
        if len(rows) == limit:
            break
    return {"events": list(rows.values())}


def _latest_of(webhooks: Mapping[int, Webhook]) -> list[Delivery]:
    """Return the latest deliveries of some webhooks, of each found by the index of its log."""
    found = sql.run(FIND_LATEST, {"webhooks": arrays.bigints(webhooks), "limit": MAX_SCANNED})
    deliveries = Delivery.objects.filter(pk__in=[delivery_id for (delivery_id,) in found])
    return list(deliveries.exclude(state=Delivery.State.CANCELLED).order_by("-pk"))


FIND_LATEST = """
SELECT latest.id FROM unnest(%(webhooks)s::bigint[]) AS own (id) CROSS JOIN LATERAL (
    SELECT d.id FROM hookhub_delivery d WHERE d.webhook_id = own.id ORDER BY d.id DESC LIMIT %(limit)s
) AS latest
ORDER BY latest.id DESC LIMIT %(limit)s
"""


def _passes(event: Event, values: Mapping[str, Any]) -> bool:
    """Return whether a subscription with these arguments would get an event."""
    others = dict(values)
    repository = others.pop(REPOSITORY, None)
    if repository is not None and (event.repository is None or event.repository.name != repository):
        return False
    return not others or filters.has_values(others, filters.fields_of(bytes(event.payload)))


def _shown(delivery: Delivery, webhook: Webhook, event: Event, *, address: str) -> dict[str, Any]:
    subscription = webhook.subscription or {}
    payload = bytes(event.payload)
    data: object = None
    try:
        data = json.loads(payload) if len(payload) <= MAX_BODY else None
        compact_json.encode(data)
        is_whole = len(payload) <= MAX_BODY
    # A number that no JSON can hold, or nesting deeper than Python's recursion limit.
    except (ValueError, RecursionError):
        is_whole = False
    return {
        "eventId": str(event.pk),
        "name": subscription.get("name", event.type),
        "timestamp": stamp(event.occurred_at, milliseconds=True),
        "data": data if is_whole else summary_of(str(event.pk), size=len(payload), address=address),
        "repository": None if event.repository is None else event.repository.name,
        "delivery": delivery.state,
        "deliveryId": str(delivery.pk),
        "subscriptionId": subscription.get("id"),
    }


def get_delivery(arguments: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return a delivery of one of the caller's subscriptions, with its latest attempts."""
    try:
        delivery_id = UUID(arguments["id"])
    except ValueError:
        raise ToolError("arguments.id must be the deliveryId of an event.") from None
    found = find_one(Delivery.objects.filter(pk=delivery_id, organization=context.organization))
    own = mcp_subscribing.of_caller(context.organization.pk, context.caller)
    webhook = None if found is None else find_one(own.filter(pk=found.webhook_id))
    if found is None or webhook is None:
        raise ToolError("None of your subscriptions has this delivery.")
    attempts = Attempt.objects.filter(delivery=found).order_by("-number")[:MAX_ATTEMPTS]
    return {
        "deliveryId": str(found.pk),
        "eventId": str(found.event_id),
        "subscriptionId": (webhook.subscription or {}).get("id"),
        "name": (webhook.subscription or {}).get("name"),
        "state": found.state,
        "finishReason": found.finish_reason,
        "nextAttemptAt": None if found.due_at is None else stamp(found.due_at),
        "attempts": [
            {
                "number": attempt.number,
                "startedAt": stamp(attempt.started_at, milliseconds=True),
                "outcome": attempt.outcome,
                "status": attempt.status,
                "error": attempt.error,
            }
            for attempt in attempts
        ],
    }


TOOLS: Mapping[str, Tool] = {
    "list_event_types": Tool(
        "List the events that can be subscribed to, and the arguments by which each can be filtered.",
        {},
        (),
        list_event_types,
    ),
    "get_recent_events": Tool(
        "Get the latest events of your own subscriptions, newest first, with their data.",
        {
            "name": {"type": "string", "description": "Only events of this name."},
            "arguments": {
                "type": "object",
                "description": "Only events with these values: the repository, and fields at the top of the data.",
            },
            "limit": {"type": "integer", "description": f"At most this many, up to {MAX_EVENTS}; 5 by default."},
        },
        (),
        get_recent_events,
    ),
    "get_delivery": Tool(
        "Get how the delivery of an event to one of your own subscriptions went, with its latest attempts.",
        {"id": {"type": "string", "description": "The deliveryId of an event, as get_recent_events has it."}},
        ("id",),
        get_delivery,
    ),
}
