"""The client itself: publishes events and starts replays."""

# Made by `make sdk` from ../aio/client.py, which is the one to change.

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .deliveries import Deliveries, Events
from .encoding import Json, encode, given, states
from .errors import HookHubError
from .events import Event, PublishedEvent, batches
from .organizations import ApiKeys, AuditLog, EventTypes, Organizations, Repositories
from .portal import AlertChannels, Alerts, PortalSessions
from .replays import Replay, Replays, replay_of
from .responses import receipts
from .transport import Transport
from .webhooks import Webhooks

if TYPE_CHECKING:
    # Not in the typing module of Python 3.9 and 3.10.
    from typing import Self

MAX_BATCH_EVENTS = 1_000
# The API's limit for one event. A request must arrive within ten seconds, and the uplink may be slow.
MAX_BATCH_BYTES = 1 << 20


class Client:
    """A connection to one HookHub with one API key; use it as a context manager, or call ``close()``.

    ``base_url`` is the address with or without ``/v1``, such as ``https://hooks.example.org``. ``timeout`` limits the
    wait for a connection and the wait for each chunk of a response, not the whole request. ``retries`` is the maximum
    number of retries after the first attempt, and ``deadline`` the time for all of them: no further one begins after
    it, and a response that is still arriving then is given up. Proxies and CA certificates come from the environment,
    unless the host is ``localhost``, ``127.0.0.1`` or ``::1``. ``organization`` is the slug of the one that all
    requests are about; only operators' keys need it.

    Raise ValueError for an invalid ``base_url`` or ``api_key``; the message contains neither.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        timeout: timedelta = timedelta(seconds=10),
        retries: int = 4,
        deadline: timedelta = timedelta(minutes=2),
        organization: str | None = None,
    ) -> None:
        self._transport = Transport(
            base_url, api_key, timeout=timeout, retries=retries, deadline=deadline, organization=organization
        )
        self.alert_channels = AlertChannels(self._transport)
        self.alerts = Alerts(self._transport)
        self.api_keys = ApiKeys(self._transport)
        self.audit_log = AuditLog(self._transport)
        self.deliveries = Deliveries(self._transport)
        self.event_types = EventTypes(self._transport)
        self.events = Events(self._transport)
        self.organizations = Organizations(self._transport)
        self.portal_sessions = PortalSessions(self._transport)
        self.replays = Replays(self._transport)
        self.repositories = Repositories(self._transport)
        self.webhooks = Webhooks(self._transport)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def publish(
        self,
        type: str,
        data: Any,
        *,
        repository: str | None = None,
        id: str | None = None,
        timestamp: datetime | None = None,
        organization: str | None = None,
        trace: Mapping[str, str] | None = None,
    ) -> PublishedEvent:
        """Publish one event and return its receipt; from then on HookHub guarantees its delivery.

        The arguments are the fields of Event. Raise HookHubError. Pass your own ``id`` to be able to publish again
        safely after an error: a generated one is different on every call.
        """
        event = Event(
            type, data, repository=repository, id=id, timestamp=timestamp, organization=organization, trace=trace
        )
        return (self.publish_batch([event]))[0]

    def publish_batch(self, events: Iterable[Event]) -> list[PublishedEvent]:
        """Publish events in batches and return their receipts in the same order.

        ``events`` may be a generator of any length; a request holds up to 1,000 events or 1 MiB. A request is accepted
        as a whole or not at all. Raise HookHubError, with the events of the preceding requests in ``published``.
        Repeating the whole call is safe only when the events have ids of their own.

            hookhub.publish_batch(Event("push", push, id=push["id"]) for push in pushes)
        """
        published: list[PublishedEvent] = []
        for lines in batches(events, max_events=MAX_BATCH_EVENTS, max_bytes=MAX_BATCH_BYTES):
            try:
                response = self._transport.publish(lines)
                published += receipts(response, expected=len(lines))
            except HookHubError as error:
                error.published = tuple(published)
                raise
        return published

    def validate(self, events: Sequence[Event]) -> Json:
        """Check what publishing these events would do, publish nothing, and return the API's JSON; raise HookHubError.

        They go in one request, so there may be 1,000 of them.
        """
        return self._transport.validate([encode(event.as_json()) for event in events])

    def meta(self) -> Json:
        """Return the deployment's version, formats, limits and the addresses from which it sends."""
        return self._transport.json("GET", "meta")

    def replay(
        self,
        *,
        deliveries: Sequence[str] | None = None,
        webhook: str | None = None,
        event: str | None = None,
        repository: str | None = None,
        state: str | Sequence[str] | None = None,
        type: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> Replay:
        """Start a job that redelivers the deliveries listed by id, or those that match every given filter.

        ``webhook`` and ``event`` are ids, ``type`` is an event type, and ``state`` one state or several. ``after``
        (inclusive) and ``before`` (exclusive) bound the creation of a delivery and need a time zone. At least one
        argument is required. The job skips deliveries that are being sent, and those whose webhook is disabled or
        deleted. It runs in the background; call ``wait()`` on the result to wait for it.

            hookhub.replay(webhook=webhook_id, state=["failed", "cancelled"], after=outage_began_at)
        """
        fields: Json = {"deliveries": deliveries and list(deliveries), "webhook": webhook, "event": event}
        fields |= {"repository": repository, "state": states(state), "type": type, "after": after, "before": before}
        return replay_of(self._transport, "POST", "replays", body=given(fields))
