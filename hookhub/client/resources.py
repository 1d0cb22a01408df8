"""The API's resources: webhooks, deliveries and replays."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hookhub.client.encoding import Json, path_of, rfc3339
from hookhub.client.responses import json_object, rejection
from hookhub.client.transport import Transport


@dataclass(frozen=True)
class Replay:
    """A job that redelivers in the background, as it was when last fetched.

    ``finished`` is True when the job has completed or was cancelled. ``details`` is the API's JSON: among others
    ``state``, and the counts ``total``, ``examined`` and ``redelivered``.
    """

    id: str
    finished: bool
    details: Json
    _look: Callable[[], Replay]

    def wait(self, timeout: timedelta = timedelta(minutes=5), *, every: timedelta = timedelta(seconds=1)) -> Replay:
        """Poll at the interval ``every`` and return the finished job.

        Raise TimeoutError after ``timeout``; the job continues on the server. Raise HookHubError when a poll fails.
        """
        until = time.monotonic() + timeout.total_seconds()
        seen = self
        while not seen.finished:
            if time.monotonic() > until:
                raise TimeoutError(f"replay {self.id} is still running after {timeout}")
            time.sleep(every.total_seconds())
            seen = self._look()
        return seen


class Webhooks:
    """``client.webhooks``: manage the organization's webhooks; every method raises HookHubError.

    ``webhook`` is a webhook's id. Webhooks are dicts as the API returns them.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(
        self,
        url: str,
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
        format. ``settings`` holds any other field of the API; durations are in seconds. The request is not retried
        after a timeout, since the webhook may have been created.

            hookhub.webhooks.create(url, events=["push"], settings={"timeout": 10, "retry_schedule": [60, 300]})
        """
        fields = {"url": url, "events": list(events), "repository": repository, "organization": organization}
        fields |= {"name": name, "format": format, **(settings or {})}
        return self._transport.json(
            "POST", "webhooks", body={key: value for key, value in fields.items() if value is not None}
        )

    def list(self, *, repository: str | None = None) -> Iterator[Json]:
        """Yield all webhooks, or those of one repository, fetching pages as needed."""
        return self._transport.pages("webhooks", {"repository": repository})

    def get(self, webhook: str) -> Json:
        """Return one webhook."""
        return self._transport.json("GET", path_of("webhooks", webhook))

    def update(self, webhook: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed webhook; a value of None sets the field to null.

        A URL that differs in more than its query gives the webhook a new ``secret``, which is in this response only,
        and removes its custom headers, unless ``changes`` sets them as well.
        """
        return self._transport.json("PATCH", path_of("webhooks", webhook), body=changes)

    def delete(self, webhook: str) -> None:
        """Delete a webhook and cancel its unfinished deliveries.

        If the response to a first request was lost, 404 in response to a further one counts as success.
        """
        self._transport.call("DELETE", path_of("webhooks", webhook), done_status=404)

    def enable(self, webhook: str, *, release_held: bool = False) -> Json:
        """Enable a disabled webhook and return it.

        ``release_held`` also sends the deliveries held while it was disabled; ``released`` counts them.
        """
        body = {"release_held": release_held}
        return self._transport.json("POST", path_of("webhooks", webhook, "enable"), body=body, repeatable=True)

    def disable(self, webhook: str) -> Json:
        """Disable a webhook and return it; its pending deliveries are held, and ``held`` counts them."""
        return self._transport.json("POST", path_of("webhooks", webhook, "disable"), repeatable=True)

    def rotate_secret(self, webhook: str) -> Json:
        """Generate a new secret and return the webhook with it as ``secret``.

        Deliveries are signed with the old secret as well until the overlap ends, one day unless the server is
        configured otherwise. Not retried after a timeout.
        """
        return self._transport.json("POST", path_of("webhooks", webhook, "rotate-secret"))

    def verify(self, webhook: str) -> Json:
        """Start to verify the webhook's URL and return the webhook; its ``verification`` shows the progress."""
        return self._transport.json("POST", path_of("webhooks", webhook, "verify"), repeatable=True)

    def ping(self, webhook: str) -> Json:
        """Send a ``ping`` event to the webhook and return its delivery; the API answers 409 if it is disabled."""
        return self._transport.json("POST", path_of("webhooks", webhook, "ping"))

    def stats(self, webhook: str) -> Json:
        """Return the webhook's statistics for the last day: deliveries by state, success rate, latencies in ms."""
        return self._transport.json("GET", path_of("webhooks", webhook, "stats"))


class Deliveries:
    """``client.deliveries``: the delivery log, redelivery and cancellation; every method raises HookHubError.

    ``delivery`` is a delivery's id, the same on every attempt and redelivery. Deliveries are dicts as the API returns
    them.
    """

    def __init__(self, transport: Transport) -> None:
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
    ) -> Iterator[Json]:
        """Yield the deliveries that match every given filter, newest first, fetching pages as needed.

        ``webhook`` and ``event`` are ids, and ``state`` is one state or several. ``after`` (inclusive) and ``before``
        (exclusive) bound the creation of a delivery and need a time zone. ``page_size`` is the number of deliveries in
        one request.
        """
        filters: dict[str, str | Sequence[str] | None] = {"webhook": webhook, "event": event, "repository": repository}
        filters |= {"state": states(state), "type": type, "after": rfc3339(after), "before": rfc3339(before)}
        return self._transport.pages("deliveries", {**filters, "limit": str(page_size) if page_size else None})

    def get(self, delivery: str) -> Json:
        """Return one delivery with all its attempts."""
        return self._transport.json("GET", path_of("deliveries", delivery))

    def redeliver(self, delivery: str) -> Json:
        """Make a delivery due at once, with its retry schedule restarted, and return it; not retried after a timeout.

        The id stays the same. The API answers 409 for a delivery that is being sent at the moment, and for one whose
        webhook is disabled or deleted.
        """
        return self._transport.json("POST", path_of("deliveries", delivery, "redeliver"))

    def cancel(self, delivery: str) -> Json:
        """Cancel a pending or held delivery and return it; the API answers 409 for one in any other state.

        If the response to a first request was lost, 409 in response to a further one counts as success for a delivery
        that is cancelled.
        """
        path = path_of("deliveries", delivery, "cancel")
        response = self._transport.call("POST", path, repeatable=True, done_status=409)
        if response.status_code != 409:
            return json_object(response)
        found = self.get(delivery)
        if found.get("state") != "cancelled":
            raise rejection(response, may_repeat=True)
        return found


def states(state: str | Sequence[str] | None) -> str | list[str] | None:
    """Return a filter by state; raise ValueError for an empty one."""
    # An empty list would drop the filter from a query, and select the deliveries in every state.
    if state is not None and not state:
        raise ValueError("state must not be empty")
    return state if state is None or isinstance(state, str) else list(state)
