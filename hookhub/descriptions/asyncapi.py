"""The event types of a catalogue as AsyncAPI 3: the messages that HookHub sends to a receiver, in one wire format."""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from deliveries.event_types import catalogue
from deliveries.event_types.catalogue import EventType
from deliveries.event_types.catalogue.references import inlined
from deliveries.formats import FORMATS, Format
from deliveries.version import VERSION
from hookhub.descriptions.draft_07 import as_draft_07
from hookhub.descriptions.receivers import NO_PARAMETERS, SAMPLE

Described = dict[str, Any]
# A receiver's address is known to its webhook alone.
RECEIVER = "receiver"


@lru_cache(maxsize=64)
def of_dialect(dialect: str, wire_format: str) -> bytes:
    """Return the document of the event types that a dialect documents, as JSON."""
    types = catalogue.of(dialect).types.values()
    return json.dumps(document(types, wire_format=FORMATS[wire_format], title=f"Events of {dialect}")).encode()


def document(types: Iterable[EventType], *, wire_format: Format, title: str) -> Described:
    """Return the AsyncAPI document of these event types as a wire format sends them."""
    found = {each.type: each for each in types}
    headers = headers_of(wire_format)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": title,
            "version": VERSION,
            "description": f"What HookHub sends to a webhook, in the format {wire_format.title}.",
        },
        "defaultContentType": "application/json",
        "channels": {
            RECEIVER: {
                "address": None,
                "title": "The URL of a webhook",
                "description": "Each webhook has a URL of its own, and gets the event types that it subscribes to.",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in found},
            }
        },
        "operations": {
            "deliver": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{RECEIVER}"},
                "summary": "Deliver an event. An answer with 2xx accepts it; others are followed by a retry.",
                "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            }
        },
        "components": {
            "messages": {name: message_of(each, wire_format=wire_format) for name, each in found.items()},
            "schemas": {"headers": headers},
        },
    }


def message_of(event_type: EventType, *, wire_format: Format) -> Described:
    """Return the message of an event type: the body and the headers of its deliveries, with an example."""
    data = event_type.schema
    schema = inlined(data) if isinstance(data, dict) else {}
    media_type, example = example_of(event_type, wire_format=wire_format)
    return {
        "name": event_type.type,
        "title": event_type.type,
        **({"summary": event_type.description} if event_type.description else {}),
        "contentType": media_type,
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": as_draft_07(dict(wire_format.body_schema(schema))),
        **({} if example is None else {"examples": [example]}),
    }


def example_of(event_type: EventType, *, wire_format: Format) -> tuple[str, Described | None]:
    """Return the media type of a message, and an example as the format renders it; None if its type has none."""
    payload = (event_type.example_text or "{}").encode()
    secrets = SAMPLE.secrets if wire_format.secret_policy.allows_secret else ()
    rendered = wire_format.render(SAMPLE._replace(event_type=event_type.type, payload=payload, secrets=secrets))
    headers = {name: value for name, value in rendered.headers if name.lower() not in NO_PARAMETERS}
    example = {"name": "example", "headers": headers, "payload": json.loads(rendered.body)}
    return dict(rendered.headers)["Content-Type"], None if event_type.example_text is None else example


def headers_of(wire_format: Format) -> Described:
    """Return the JSON Schema of the headers that a format sends."""
    secrets = SAMPLE.secrets if wire_format.secret_policy.allows_secret else ()
    names = [name for name, _ in wire_format.render(SAMPLE._replace(secrets=secrets)).headers]
    notes = wire_format.header_notes
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", **({"description": notes[name]} if name in notes else {})}
            for name in names
            if name.lower() not in NO_PARAMETERS
        },
    }
