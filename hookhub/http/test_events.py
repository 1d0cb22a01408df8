"""Test events as each door sends them: an example of a type, or data of the caller's, to one webhook."""

from datetime import datetime

from deliveries import redelivery
from deliveries.models import Delivery, Webhook
from deliveries.webhooks.fields import InvalidFields
from hookhub.event_types import examples
from hookhub.event_types.examples import Example
from hookhub.http import rate_limits
from hookhub.http.json_values import MAX_DEPTH, is_deeper_than


def with_data(webhook: Webhook, event_type: object, data: object) -> Example:
    """Return a test event with the caller's data; raise InvalidFields for invalid ones."""
    if is_deeper_than(MAX_DEPTH, data):
        raise InvalidFields({"data": f"is nested more than {MAX_DEPTH} levels deep"})
    return examples.with_data(webhook, event_type, data)


def send(webhook: Webhook, example: Example, *, now: datetime) -> Delivery:
    """Send a test event to a webhook that receives, and return its delivery; raise rates.TooMany."""
    rate_limits.take_test(webhook)
    return redelivery.send_to(webhook, example.type, example.data, now=now)
