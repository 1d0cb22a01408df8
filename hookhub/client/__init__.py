"""Python client for the HookHub API; depends only on ``requests``.

    with Client("https://hooks.example.org", "hh_…") as hookhub:
        hookhub.publish("push", {"ref": "refs/heads/main"}, repository="acme/widgets")

Objects that the client interprets are frozen dataclasses: ``Event``, ``PublishedEvent`` and ``Replay``. Webhooks and
deliveries are dicts that hold the API's JSON unchanged: the API reference applies to them, and a field added on the
server needs no new client.

A failed request raises HookHubError, or its subclass ConnectionFailed when no response arrived. Invalid arguments
raise ValueError or TypeError before anything is sent.

Requests are retried with exponential backoff when the connection fails or the API answers 429, 502, 503 or 504, and
when repeating them is safe. Publishing is safe to repeat, because every event has an idempotency key.

A Client keeps one connection open and, like ``requests.Session``, must be used by one thread only. Requires Python 3.9
or later.
"""

from hookhub.client.client import Client
from hookhub.client.errors import ConnectionFailed, HookHubError
from hookhub.client.events import Event, PublishedEvent
from hookhub.client.resources import Deliveries, Replay, Webhooks
from hookhub.client.retry import backoff, retry_after
from hookhub.client.transport import clean_key

__all__ = [
    "Client", "ConnectionFailed", "Deliveries", "Event", "HookHubError", "PublishedEvent", "Replay", "Webhooks",
    "backoff", "clean_key", "retry_after",
]  # fmt: skip
