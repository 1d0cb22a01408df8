"""Create a webhook, list webhooks and publish an event with the code that openapi-python-client generated."""

import json
import sys

from generated.api.events import events_create
from generated.api.webhooks import webhooks_create, webhooks_list
from generated.client import AuthenticatedClient
from generated.models import NewEvent, NewWebhook, Receipt

url, key, receiver = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=key) as client:
    made = webhooks_create.sync(client=client, body=NewWebhook(url=receiver, events=["*"]))
    page = webhooks_list.sync(client=client)
    event = NewEvent(type_="push", data={"n": 1}, repository="Hello-World")
    receipt = events_create.sync(client=client, body=event)
    assert isinstance(receipt, Receipt), receipt
    answer = {
        "created": str(made.id),
        "listed": [str(webhook.id) for webhook in page.results],
        "event": str(receipt.id),
    }
print(json.dumps(answer))
