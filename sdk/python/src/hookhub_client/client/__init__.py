"""The synchronous client for the HookHub API; depends only on ``requests``.

    with Client("https://hooks.example.org", "hh_…") as hookhub:
        hookhub.publish("push", {"ref": "refs/heads/main"}, repository="acme/widgets")

Objects that the client interprets are frozen dataclasses: ``Event``, ``PublishedEvent`` and ``Replay``. Webhooks,
deliveries and all others are dicts that hold the API's JSON unchanged: the API reference applies to them, and a field
added on the server needs no new client.

A failed request raises HookHubError, or its subclass ConnectionFailed when no response arrived. Invalid arguments
raise ValueError or TypeError before anything is sent.

Requests are retried with exponential backoff when the connection fails or the API answers 429, 502, 503 or 504, and
when repeating them is safe. Publishing is safe to repeat, because every event has an idempotency key.

A Client keeps one connection open and, like ``requests.Session``, must be used by one thread only. A process that was
forked has a connection of its own. Requires Python 3.9 or later.
"""

from .client import Client
from .connection import clean_key
from .deliveries import Deliveries, Events
from .errors import ConnectionFailed, HookHubError
from .events import Event, PublishedEvent
from .organizations import ApiKeys, AuditLog, EventTypes, Organizations, Repositories
from .portal import AlertChannels, Alerts, PortalSessions
from .replays import Replay, Replays
from .retry import backoff, retry_after
from .webhooks import Webhooks

__all__ = [
    "AlertChannels", "Alerts", "ApiKeys", "AuditLog", "Client", "ConnectionFailed", "Deliveries", "Event", "EventTypes",
    "Events", "HookHubError", "Organizations", "PortalSessions", "PublishedEvent", "Replay", "Replays", "Repositories",
    "Webhooks", "backoff", "clean_key", "retry_after",
]  # fmt: skip
