"""CloudEvents in structured mode: the attributes and the data together as JSON."""

from urllib.parse import quote

from deliveries.compact_json import encode
from deliveries.formats import standard_webhooks
from deliveries.formats.base import Format, Message, Rendered, stamp
from deliveries.formats.body_schemas import TEXT, TIME, Schema, object_of
from deliveries.version import USER_AGENT

SPEC_VERSION = "1.0"
DATA_TYPE = "application/json"


class CloudEvents(Format):
    """https://cloudevents.io: the JSON format of version 1.0.2, signed as by Standard Webhooks."""

    slug = "cloudevents"
    title = "CloudEvents"
    reserved_headers = standard_webhooks.HEADERS | {"content-type", "user-agent"}
    header_notes = standard_webhooks.NOTES

    def render(self, message: Message) -> Rendered:
        attributes = {**attributes_of(message), "datacontenttype": DATA_TYPE}
        body = b'%s,"data":%s}' % (encode(attributes)[:-1], message.payload)
        return Rendered(
            headers=(
                ("Content-Type", "application/cloudevents+json"),
                ("User-Agent", USER_AGENT),
                *standard_webhooks.sign(message, body),
            ),
            body=body,
        )

    def body_schema(self, data: Schema) -> Schema:
        return object_of(
            specversion={"const": SPEC_VERSION},
            id=TEXT,
            source={"type": "string", "format": "uri-reference"},
            type=TEXT,
            time=TIME,
            deliveryid=TEXT,
            datacontenttype={"const": DATA_TYPE},
            data=data,
        )

    def make_secret(self) -> str:
        return standard_webhooks.make_secret()

    def secret_error(self, secret: str) -> str | None:
        return standard_webhooks.secret_error(secret)


def attributes_of(message: Message) -> dict[str, str]:
    """Return the attributes of an event, without the type of its data.

    They are the same on every attempt. ``id`` and ``source`` name the event, so that a consumer of several webhooks
    recognizes it; ``deliveryid`` is an extension.
    """
    return {
        "specversion": SPEC_VERSION,
        "id": message.event_id,
        "source": source_of(message),
        "type": message.event_type,
        "time": stamp(message.occurred_at, milliseconds=True),
        "deliveryid": message.delivery_id,
    }


def source_of(message: Message) -> str:
    """Return the URI reference of the repository that the event is about, or of its organization: ``/acme/widgets``."""
    names = [message.organization] if message.repository is None else [message.organization, message.repository]
    return "".join(["/" + quote(name, safe="") for name in names])
