"""CloudEvents in binary mode: the attributes in headers, and the data as the body."""

import re

from deliveries.formats import standard_webhooks
from deliveries.formats.base import Format, Message, Rendered
from deliveries.formats.cloudevents import DATA_TYPE, attributes_of
from deliveries.version import USER_AGENT

# What the HTTP protocol binding has percent-encoded in a header: all but printable ASCII without quotes and percents.
_TO_ENCODE = re.compile(r'[^!-~]|["%]')


class CloudEventsBinary(Format):
    """https://cloudevents.io: binary mode of the HTTP protocol binding 1.0.2; only the data and its id are signed."""

    slug = "cloudevents-binary"
    title = "CloudEvents (binary mode)"
    reserved_headers = standard_webhooks.HEADERS | {
        "content-type", "user-agent", "ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "ce-deliveryid",
    }  # fmt: skip
    header_notes = standard_webhooks.NOTES | {
        "ce-specversion": "Version of CloudEvents.",
        "ce-id": "Id of the event, the same at every webhook.",
        "ce-source": "The repository that the event is about, or its organization: `/acme/widgets`.",
        "ce-type": "Type of the event.",
        "ce-time": "When the event occurred.",
        "ce-deliveryid": "Id of the delivery, the same on every attempt.",
    }

    def render(self, message: Message) -> Rendered:
        attributes = attributes_of(message)
        return Rendered(
            headers=(
                ("Content-Type", DATA_TYPE),
                ("User-Agent", USER_AGENT),
                *[(f"ce-{name}", header_value(value)) for name, value in attributes.items()],
                *standard_webhooks.sign(message, message.payload),
            ),
            body=message.payload,
        )

    def make_secret(self) -> str:
        return standard_webhooks.make_secret()

    def secret_error(self, secret: str) -> str | None:
        return standard_webhooks.secret_error(secret)


def header_value(text: str) -> str:
    """Return the value of an attribute as the binding writes it in a header."""
    return _TO_ENCODE.sub(lambda found: "".join([f"%{byte:02X}" for byte in found[0].encode()]), text)
