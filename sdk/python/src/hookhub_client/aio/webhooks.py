"""The API's resource ``webhooks``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from hookhub_client.aio.replays import Replay, replay_of
from hookhub_client.aio.transport import AsyncTransport
from hookhub_client.client.encoding import Json, given, path_of
from hookhub_client.client.responses import rows_of


class Webhooks:
    """``client.webhooks``: manage the organization's webhooks; every method raises HookHubError.

    ``webhook`` is a webhook's id. Webhooks are dicts as the API returns them.
    """

    def __init__(self, transport: AsyncTransport) -> None:
        self._transport = transport

    async def create(
        self,
        url: str | None = None,
        *,
        events: Sequence[str],
        repository: str | None = None,
        organization: str | None = None,
        name: str | None = None,
        format: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Json:
        """Create a webhook and return it; ``secret`` is in this response and cannot be read later.

        ``events`` are the topics to subscribe to: event types such as ``issues.opened``, families such as ``issues``,
        or ``*`` for all. Without ``repository`` the webhook covers the whole organization. ``format`` is the wire
        format. ``settings`` holds any other field of the API; durations are in seconds. A webhook of the kind ``poll``
        has no URL. The request is not retried after a timeout, since the webhook may have been created.

            await hookhub.webhooks.create(url, events=["push"], settings={"timeout": 10, "retry_schedule": [60, 300]})
        """
        fields = {"url": url, "events": list(events), "repository": repository, "organization": organization}
        fields |= {"name": name, "format": format, **(settings or {})}
        return await self._transport.json("POST", "webhooks", body=given(fields))

    def list(
        self, *, repository: str | None = None, status: str | None = None, page_size: int | None = None
    ) -> AsyncIterator[Json]:
        """Yield all webhooks, or those of one repository or with one status, fetching pages as needed.

        ``status`` is ``active``, ``disabled``, ``ended`` or ``unverified``. ``page_size`` is the number of webhooks in
        one request.
        """
        return self._transport.pages("webhooks", {"repository": repository, "status": status, "limit": page_size})

    async def get(self, webhook: str) -> Json:
        """Return one webhook."""
        return await self._transport.json("GET", path_of("webhooks", webhook))

    async def update(self, webhook: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed webhook; a value of None sets the field to null.

        A URL that differs in more than its query gives the webhook a new ``secret``, which is in this response only,
        and removes its custom headers, unless ``changes`` sets them as well.
        """
        return await self._transport.json("PATCH", path_of("webhooks", webhook), body=changes)

    async def update_headers(self, webhook: str, headers: Mapping[str, str | None]) -> Json:
        """Set or remove (None) some of the webhook's custom headers, keep the others, and return the webhook."""
        body = {"headers": dict(headers)}
        return await self._transport.json("PATCH", path_of("webhooks", webhook, "headers"), body=body)

    async def delete(self, webhook: str) -> None:
        """Delete a webhook and cancel its unfinished deliveries.

        If the response to a first request was lost, 404 in response to a further one counts as success.
        """
        await self._transport.call("DELETE", path_of("webhooks", webhook), done_status=404)

    async def enable(self, webhook: str, *, release_held: bool = False) -> Json:
        """Enable a disabled webhook and return it.

        ``release_held`` also sends the deliveries held while it was disabled; ``released`` counts them.
        """
        body = {"release_held": release_held}
        return await self._transport.json("POST", path_of("webhooks", webhook, "enable"), body=body, repeatable=True)

    async def disable(self, webhook: str) -> Json:
        """Disable a webhook and return it; its pending deliveries are held, and ``held`` counts them."""
        return await self._transport.json("POST", path_of("webhooks", webhook, "disable"), repeatable=True)

    async def rotate_secret(self, webhook: str, *, secret: str | None = None, overlap: timedelta | None = None) -> Json:
        """Generate a new secret, or take the given one, and return the webhook with it as ``secret``.

        Deliveries are signed with the old secret as well until the ``overlap`` ends, one day unless the server is
        configured otherwise. Not retried after a timeout.
        """
        seconds = None if overlap is None else int(overlap.total_seconds())
        body = given({"secret": secret, "overlap": seconds}) or None
        return await self._transport.json("POST", path_of("webhooks", webhook, "rotate-secret"), body=body)

    async def verify(self, webhook: str) -> Json:
        """Start to verify the webhook's URL and return the webhook; its ``verification`` shows the progress."""
        return await self._transport.json("POST", path_of("webhooks", webhook, "verify"), repeatable=True)

    async def ping(self, webhook: str) -> Json:
        """Send a ``ping`` event to the webhook and return its delivery; the API answers 409 if it is disabled."""
        return await self._transport.json("POST", path_of("webhooks", webhook, "ping"))

    async def test(self, webhook: str, *, type: str | None = None, data: Any = None) -> Json:
        """Send a test event to the webhook only, and return its delivery.

        Without ``data`` it is the example of the event ``type``, and without that of a type that the webhook gets.
        """
        return await self._transport.json(
            "POST", path_of("webhooks", webhook, "test"), body=given({"type": type, "data": data})
        )

    async def stats(self, webhook: str, *, hours: int | None = None) -> Json:
        """Return the webhook's statistics: deliveries by state, success rate, latencies in ms.

        They are for the last ``hours``, a day by default.
        """
        return await self._transport.json("GET", path_of("webhooks", webhook, "stats"), query={"hours": hours})

    async def timeseries(
        self,
        webhook: str,
        *,
        step: str | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> Json:
        """Return the webhook's statistics by ``step``, which is ``hour`` (the default) or ``day``."""
        query = {"step": step, "after": after, "before": before}
        return await self._transport.json("GET", path_of("webhooks", webhook, "timeseries"), query=query)

    async def count_missing(self, webhook: str, *, after: datetime, before: datetime | None = None) -> Json:
        """Return how many events of a period the webhook matches and never got."""
        query = {"after": after, "before": before}
        return await self._transport.json("GET", path_of("webhooks", webhook, "replay-missing"), query=query)

    async def replay_missing(self, webhook: str, *, after: datetime, before: datetime | None = None) -> Replay:
        """Start a job that delivers the events of a period that the webhook matches and never got."""
        body = given({"after": after, "before": before})
        return await replay_of(self._transport, "POST", path_of("webhooks", webhook, "replay-missing"), body=body)

    async def poll(
        self,
        webhook: str,
        *,
        consumer: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
        wait: timedelta = timedelta(0),
    ) -> Json:
        """Fetch the next ``events`` of a polling webhook, with the ``cursor`` after them and ``has_more``.

        They come after what ``consumer`` has committed, or after ``cursor``, which may be ``latest``. If there is none,
        the API waits for one, at most 30 seconds. Fetching commits nothing: call ``commit`` with the cursor once the
        events are processed.
        """
        query = {"consumer": consumer, "cursor": cursor, "limit": limit, "wait": int(wait.total_seconds()) or None}
        return await self._transport.json("GET", path_of("webhooks", webhook, "poll"), query=query, waits=wait)

    async def commit(self, webhook: str, consumer: str, cursor: str) -> Json:
        """Record that a consumer has processed the events of a polling webhook up to a cursor, and return it."""
        path = path_of("webhooks", webhook, "consumers", consumer)
        return await self._transport.json("PUT", path, body={"cursor": cursor})

    async def consumers(self, webhook: str) -> Sequence[Json]:
        """Return the consumers of a polling webhook, with the number of events that each is ``behind``."""
        return rows_of(await self._transport.call("GET", path_of("webhooks", webhook, "consumers")), "consumers")

    async def delete_consumer(self, webhook: str, consumer: str) -> None:
        """Delete a consumer and its position; a 404 after a lost response counts as success."""
        await self._transport.call("DELETE", path_of("webhooks", webhook, "consumers", consumer), done_status=404)
