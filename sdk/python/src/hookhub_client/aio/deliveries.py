"""The API's resources ``events`` and ``deliveries``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from hookhub_client.aio.transport import AsyncTransport
from hookhub_client.client.encoding import Json, path_of, states
from hookhub_client.client.responses import json_object, rejection


class Events:
    """``client.events``: the events that were published; every method raises HookHubError."""

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        type: str | None = None,
        repository: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Json]:
        """Yield the events that match every given filter, newest first, fetching pages as needed."""
        filters = {"type": type, "repository": repository, "after": after, "before": before, "limit": page_size}
        return self._transport.pages("events", filters)

    async def get(self, event: str) -> Json:
        """Return one event with its data and its deliveries; ``event`` is its id at HookHub."""
        return await self._transport.json("GET", path_of("events", event))


class Deliveries:
    """``client.deliveries``: the delivery log, redelivery and cancellation; every method raises HookHubError.

    ``delivery`` is a delivery's id, the same on every attempt and redelivery. Deliveries are dicts as the API returns
    them.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    def list(
        self,
        *,
        webhook: str | None = None,
        event: str | None = None,
        repository: str | None = None,
        state: str | Sequence[str] | None = None,
        type: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
        page_size: int | None = None,
    ) -> AsyncIterator[Json]:
        """Yield the deliveries that match every given filter, newest first, fetching pages as needed.

        ``webhook`` and ``event`` are ids, and ``state`` is one state or several. ``after`` (inclusive) and ``before``
        (exclusive) bound the creation of a delivery and need a time zone. ``page_size`` is the number of deliveries in
        one request.
        """
        filters = {"webhook": webhook, "event": event, "repository": repository, "state": states(state), "type": type}
        return self._transport.pages("deliveries", {**filters, "after": after, "before": before, "limit": page_size})

    async def get(self, delivery: str) -> Json:
        """Return one delivery with all its attempts."""
        return await self._transport.json("GET", path_of("deliveries", delivery))

    async def redeliver(self, delivery: str) -> Json:
        """Make a delivery due at once, with its retry schedule restarted, and return it; not retried after a timeout.

        The id stays the same. The API answers 409 for a delivery that is being sent at the moment, and for one whose
        webhook is disabled or deleted.
        """
        return await self._transport.json("POST", path_of("deliveries", delivery, "redeliver"))

    async def cancel(self, delivery: str) -> Json:
        """Cancel a pending or held delivery and return it; the API answers 409 for one in any other state.

        If the response to a first request was lost, 409 in response to a further one counts as success for a delivery
        that is cancelled.
        """
        path = path_of("deliveries", delivery, "cancel")
        response = await self._transport.call("POST", path, repeatable=True, done_status=409)
        if response.status_code != 409:
            return json_object(response)
        found = await self.get(delivery)
        if found.get("state") != "cancelled":
            raise rejection(response, may_repeat=True)
        return found
