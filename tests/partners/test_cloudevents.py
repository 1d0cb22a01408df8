"""Both modes of CloudEvents as they arrive over a socket, read by the npm SDK of the CloudEvents project."""

import json
from datetime import datetime
from typing import Any

import pytest

from deliveries.models import Delivery
from deliveries.sending.sender import Sender
from tests.partners import node
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("wire_format", ["cloudevents", "cloudevents-binary"])
# It gives numbers and booleans in binary mode as text, and no false in structured mode.
@pytest.mark.parametrize("data", [{"title": "Grüße, 世界 🎉", "n": [1.5, False, None]}, [{}], "text"], ids=json.dumps)
def test_the_sdk_reads_what_arrives(wire_format: str, data: Any, forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now, format=wire_format)
    [event_id] = forge.accept(now=now, data=data)
    deliver_due(sender, now=now)
    [request] = forge.receiver.received

    [event] = node.run("cloudevents.mjs", given=[{"headers": request.headers, "body": request.body.decode()}])

    assert event.pop("data", None) == data
    assert event == {
        "specversion": "1.0",
        "id": str(event_id),
        "source": "/acme/widgets",
        "type": "push",
        "time": "2026-03-04T12:00:00.000Z",
        "datacontenttype": "application/json",
        "deliveryid": str(Delivery.objects.get().pk),
        "is_valid": True,
    }


def test_what_is_no_event_is_told_apart(forge: Forge, sender: Sender, now: datetime) -> None:
    forge.webhook(now=now)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    [request] = forge.receiver.received

    found = node.run("cloudevents.mjs", given=[{"headers": request.headers, "body": request.body.decode()}])

    assert found == [None]
