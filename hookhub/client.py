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

from __future__ import annotations

import json
import random
import re
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, urlsplit

import requests
from requests.auth import AuthBase
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

if TYPE_CHECKING:
    # Not in the typing module of Python 3.9 and 3.10.
    from typing import Self

Json = dict[str, Any]

BATCH_EVENTS = 1_000
# The API's limit for one event. A request must arrive within ten seconds, and the uplink may be slow.
BATCH_BYTES = 1 << 20
FIRST_BACKOFF = timedelta(seconds=0.5)
MAX_BACKOFF = timedelta(seconds=30)
# When Retry-After asks for more than this, raise the error and let the caller decide.
MAX_RETRY_AFTER = timedelta(minutes=2)

# Visible ASCII. Only the server can tell whether it is a valid key.
KEY = re.compile(r"[\x21-\x7e]{1,1000}")
# RFC 3339, as the API writes times. ``fromisoformat`` of Python 3.9 rejects the "Z".
MOMENT = re.compile(r"([0-9-]{10}[Tt][0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")

_RETRIED = frozenset({429, 502, 503, 504})
# None for 409: the API's message states the conflict and the remedy, which differ from resource to resource.
_ADVICE = {
    401: "Check the API key.",
    403: "Use an API key that permits this request.",
    404: "Check the id or name, and the base URL.",
    413: "Make the event smaller: link to large content instead of embedding it.",
    429: "Reduce the request rate.",
}


class HookHubError(Exception):
    """The API rejected a request, or gave no usable response; ``str()`` states the reason and a remedy.

    ``status`` is the HTTP status (int), or None when no response arrived. ``code`` and ``message`` (str) are the API's,
    or the client's own: ``connection_failed``, ``redirected``, ``not_hookhub`` (a successful response that is not the
    API's), ``unknown`` (an error response that is not the API's). ``fields`` is a tuple of (field, message) pairs, one
    for each invalid field. ``published`` is a tuple of the PublishedEvents that were accepted before a batch failed.
    """

    def __init__(
        self, message: str, *, status: int | None, code: str, fields: Sequence[tuple[str, str]] = (), advice: str = ""
    ) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.fields = tuple(fields)
        self.published: tuple[PublishedEvent, ...] = ()
        said = f"{message.rstrip('.')}." if message else ""
        listed = "".join(f" {field}: {text.rstrip('.')}." for field, text in self.fields)
        origin = f"HookHub answered {status} {code}: " if status is not None else ""
        super().__init__(f"{origin}{said}{listed} {advice}".strip())


class ConnectionFailed(HookHubError):
    """No response arrived: HookHub is unreachable, or did not answer within the timeout."""


@dataclass(frozen=True)
class Event:
    """An event to publish.

    ``type`` is a dotted name such as ``issues.opened``. ``data`` is any value that ``json.dumps`` accepts, up to 1 MiB
    of JSON unless the server is configured otherwise. ``repository`` is ``widgets`` or ``acme/widgets``. ``id`` is the
    idempotency key, at most 255 characters and unique within the organization; without one the client generates it.
    ``timestamp`` says when the event happened and needs a time zone; the default is the time of acceptance.
    ``organization`` (a slug) is for operator keys only.
    """

    type: str
    data: Any
    repository: str | None = None
    id: str | None = None
    timestamp: datetime | None = None
    organization: str | None = None

    def as_json(self) -> Json:
        """Return the event as the API takes it, without those optional fields that are None.

        Raise ValueError for a timestamp without a time zone, which would be ambiguous.
        """
        told = {
            "type": self.type,
            "data": self.data,
            "repository": self.repository,
            "id": self.id,
            "timestamp": _time(self.timestamp),
            "organization": self.organization,
        }
        return {name: value for name, value in told.items() if value is not None or name == "data"}


@dataclass(frozen=True)
class PublishedEvent:
    """A receipt: HookHub has stored the event and will deliver it.

    ``id`` is the event's id at HookHub, not the idempotency key. ``accepted_at`` is the time of its first acceptance.
    ``replayed`` is True when every event of the request had been published before, so that nothing new was stored.
    """

    id: str
    type: str
    accepted_at: datetime
    replayed: bool


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


class Client:
    """A connection to one HookHub with one API key; use it as a context manager, or call ``close()``.

    ``base_url`` is the address with or without ``/v1``, such as ``https://hooks.example.org``. ``timeout`` limits the
    wait for a connection and the wait for each chunk of a response, not the whole request. ``retries`` is the maximum
    number of retries after the first attempt. Proxies and CA certificates come from the environment, as in
    ``requests``, unless the host is ``localhost``, ``127.0.0.1`` or ``::1``.

    Raise ValueError for an invalid ``base_url`` or ``api_key``; the message contains neither.
    """

    def __init__(
        self, base_url: str, api_key: str, *, timeout: timedelta = timedelta(seconds=10), retries: int = 4
    ) -> None:
        self._calls = _Calls(base_url, api_key, timeout=timeout, retries=retries)
        self.webhooks = Webhooks(self._calls)
        self.deliveries = Deliveries(self._calls)

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
        self._calls.session.close()

    def publish(
        self,
        type: str,  # noqa: A002 - the name of the field in the API.
        data: Any,
        *,
        repository: str | None = None,
        id: str | None = None,  # noqa: A002 - the name of the field in the API.
        timestamp: datetime | None = None,
        organization: str | None = None,
    ) -> PublishedEvent:
        """Publish one event and return its receipt; from then on HookHub guarantees its delivery.

        The arguments are the fields of Event. Raise HookHubError. Pass your own ``id`` to be able to publish again
        safely after an error: a generated one is different on every call.
        """
        event = Event(type, data, repository=repository, id=id, timestamp=timestamp, organization=organization)
        return self.publish_batch([event])[0]

    def publish_batch(self, events: Iterable[Event]) -> list[PublishedEvent]:
        """Publish events in batches and return their receipts in the same order.

        ``events`` may be a generator of any length; a request holds up to 1,000 events or 1 MiB. A request is accepted
        as a whole or not at all. Raise HookHubError, with the events of the preceding requests in ``published``.
        Repeating the whole call is safe only when the events have ids of their own.

            hookhub.publish_batch(Event("push", push, id=push["id"]) for push in pushes)
        """
        published: list[PublishedEvent] = []
        for lines in _batches(events):
            try:
                answer = self._calls.publish(b"".join(lines))
                published += _published(answer, expected=len(lines))
            except HookHubError as error:
                error.published = tuple(published)
                raise
        return published

    def replay(
        self,
        *,
        deliveries: Sequence[str] | None = None,
        webhook: str | None = None,
        event: str | None = None,
        repository: str | None = None,
        state: str | Sequence[str] | None = None,
        type: str | None = None,  # noqa: A002 - the name of the field in the API.
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> Replay:
        """Start a job that redelivers the deliveries listed by id, or those that match every given filter.

        ``webhook`` and ``event`` are ids, ``type`` is an event type, and ``state`` one state or several. ``after``
        (inclusive) and ``before`` (exclusive) bound the creation of a delivery and need a time zone. At least one
        argument is required. The job skips deliveries that are being sent, and those whose webhook is disabled or
        deleted. It runs in the background; call ``wait()`` on the result to wait for it.

            hookhub.replay(webhook=webhook_id, state=["failed", "cancelled"], after=outage_began_at).wait()
        """
        wanted = {"deliveries": deliveries and list(deliveries), "webhook": webhook, "event": event}
        wanted |= {"repository": repository, "state": _states(state), "type": type}
        wanted |= {"after": _time(after), "before": _time(before)}
        body = {name: value for name, value in wanted.items() if value is not None}
        return self._replay("POST", "replays", body=body)

    def _replay(self, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> Replay:
        answer = self._calls.call(method, path, content=None if body is None else _encode(body))
        job = _object(answer)
        job_id = job.get("id")
        if not isinstance(job_id, str):
            raise _not_hookhub(answer)
        return Replay(
            id=job_id,
            finished=job.get("finished_at") is not None,
            details=job,
            _look=lambda: self._replay("GET", _path("replays", job_id)),
        )


class Webhooks:
    """``client.webhooks``: manage the organization's webhooks; every method raises HookHubError.

    ``webhook`` is a webhook's id. Webhooks are dicts as the API returns them.
    """

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def create(
        self,
        url: str,
        *,
        events: Sequence[str],
        repository: str | None = None,
        organization: str | None = None,
        name: str | None = None,
        format: str | None = None,  # noqa: A002 - the name of the field in the API.
        settings: Mapping[str, Any] | None = None,
    ) -> Json:
        """Create a webhook and return it; ``secret`` is in this response and cannot be read later.

        ``events`` are the topics to subscribe to: event types such as ``issues.opened``, families such as ``issues``,
        or ``*`` for all. Without ``repository`` the webhook covers the whole organization. ``format`` is the wire
        format. ``settings`` holds any other field of the API; durations are in seconds. The request is not retried
        after a timeout, since the webhook may have been created.

            hookhub.webhooks.create(url, events=["push"], settings={"timeout": 10, "retry_schedule": [60, 300]})
        """
        told = {"url": url, "events": list(events), "repository": repository, "organization": organization}
        told |= {"name": name, "format": format, **(settings or {})}
        return self._calls.json(
            "POST", "webhooks", body={key: value for key, value in told.items() if value is not None}
        )

    def list(self, *, repository: str | None = None) -> Iterator[Json]:
        """Yield all webhooks, or those of one repository, fetching pages as needed."""
        return self._calls.pages("webhooks", {"repository": repository})

    def get(self, webhook: str) -> Json:
        """Return one webhook."""
        return self._calls.json("GET", _path("webhooks", webhook))

    def update(self, webhook: str, changes: Mapping[str, Any]) -> Json:
        """Set the given fields and return the changed webhook; a value of None sets the field to null.

        A URL that differs in more than its query gives the webhook a new ``secret``, which is in this response only,
        and removes its custom headers, unless ``changes`` sets them as well.
        """
        return self._calls.json("PATCH", _path("webhooks", webhook), body=changes)

    def delete(self, webhook: str) -> None:
        """Delete a webhook and cancel its unfinished deliveries."""
        self._calls.call("DELETE", _path("webhooks", webhook))

    def enable(self, webhook: str, *, release_held: bool = False) -> Json:
        """Enable a disabled webhook and return it.

        ``release_held`` also sends the deliveries held while it was disabled; ``released`` counts them.
        """
        body = {"release_held": release_held}
        return self._calls.json("POST", _path("webhooks", webhook, "enable"), body=body, repeatable=True)

    def disable(self, webhook: str) -> Json:
        """Disable a webhook and return it; its pending deliveries are held, and ``held`` counts them."""
        return self._calls.json("POST", _path("webhooks", webhook, "disable"), repeatable=True)

    def rotate_secret(self, webhook: str) -> Json:
        """Generate a new secret and return the webhook with it as ``secret``.

        Deliveries are signed with the old secret as well until the overlap ends, one day unless the server is
        configured otherwise. Not retried after a timeout.
        """
        return self._calls.json("POST", _path("webhooks", webhook, "rotate-secret"))

    def ping(self, webhook: str) -> Json:
        """Send a ``ping`` event to the webhook and return its delivery; the API answers 409 if it is disabled."""
        return self._calls.json("POST", _path("webhooks", webhook, "ping"))

    def stats(self, webhook: str) -> Json:
        """Return the webhook's statistics for the last day: deliveries by state, success rate, latencies in ms."""
        return self._calls.json("GET", _path("webhooks", webhook, "stats"))


class Deliveries:
    """``client.deliveries``: the delivery log, redelivery and cancellation; every method raises HookHubError.

    ``delivery`` is a delivery's id, the same on every attempt and redelivery. Deliveries are dicts as the API returns
    them.
    """

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def list(
        self,
        *,
        webhook: str | None = None,
        event: str | None = None,
        repository: str | None = None,
        state: str | Sequence[str] | None = None,
        type: str | None = None,  # noqa: A002 - the name of the field in the API.
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
        filters |= {"state": _states(state), "type": type, "after": _time(after), "before": _time(before)}
        return self._calls.pages("deliveries", {**filters, "limit": str(page_size) if page_size else None})

    def get(self, delivery: str) -> Json:
        """Return one delivery with all its attempts."""
        return self._calls.json("GET", _path("deliveries", delivery))

    def redeliver(self, delivery: str) -> Json:
        """Make a delivery due at once, with its retry schedule restarted, and return it; not retried after a timeout.

        The id stays the same. The API answers 409 for a delivery that is being sent at the moment, and for one whose
        webhook is disabled or deleted.
        """
        return self._calls.json("POST", _path("deliveries", delivery, "redeliver"))

    def cancel(self, delivery: str) -> Json:
        """Cancel a pending or held delivery and return it; the API answers 409 for one in any other state."""
        return self._calls.json("POST", _path("deliveries", delivery, "cancel"), repeatable=True)


class _Bearer(AuthBase):
    """Sets the Authorization header through ``requests.auth``: a ``.netrc`` entry would override a plain header."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class _Session(requests.Session):
    """A session that ignores redirects.

    ``requests`` parses the Location header even with ``allow_redirects=False``, and raises for some malformed ones.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None, so that no redirect target is parsed."""
        del resp


class _Calls:
    """Sends requests to one HookHub, retries those that are safe to repeat, and raises HookHubError for any failure."""

    def __init__(self, base_url: str, api_key: str, *, timeout: timedelta, retries: int) -> None:
        # The message does not quote the value: it may hold a password, or be the key if the arguments were swapped.
        if not _is_base_url(base_url):
            raise ValueError(
                "base_url must look like https://hooks.example.org, without credentials, query or fragment"
            )
        api_key = clean_key(api_key)
        self._base = f"{base_url.rstrip('/').removesuffix('/v1')}/v1"
        self._timeout = timeout.total_seconds()
        self._retries = retries
        self.session = _Session()
        # A proxy from the environment cannot reach this machine's loopback interface.
        self.session.trust_env = urlsplit(base_url).hostname not in {"127.0.0.1", "localhost", "::1"}
        self.session.auth = _Bearer(api_key)
        self.session.headers.update({"User-Agent": "HookHub-Python/1", "Accept": "application/json"})
        # Some organizations get another vendor's JSON at the same URLs; this client understands only the native one.
        self.session.headers["HookHub-Dialect"] = "native"

    def publish(self, lines: bytes) -> requests.Response:
        """Post events as NDJSON; safe to repeat, because every event has an idempotency key."""
        return self.call("POST", "events", content=lines, content_type="application/x-ndjson", repeatable=True)

    def json(self, method: str, path: str, *, body: Mapping[str, Any] | None = None, repeatable: bool = False) -> Json:
        """Send a request and return the JSON object of the response."""
        content = None if body is None else _encode(body)
        return _object(self.call(method, path, content=content, repeatable=repeatable))

    def pages(self, path: str, filters: Mapping[str, str | Sequence[str] | None]) -> Iterator[Json]:
        """Yield the results of a paginated list; a filter with several values is repeated in the query."""
        query: list[tuple[str, str]] = []
        for name, value in filters.items():
            query += [(name, each) for each in ([value] if isinstance(value, str) else value or ())]
        while True:
            answer = self.call("GET", path, query=query)
            page = _object(answer)
            rows, following = page.get("results"), page.get("next")
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise _not_hookhub(answer)
            yield from rows
            if not following:
                return
            if not isinstance(following, str):
                raise _not_hookhub(answer)
            # Take only the query from the link: behind a proxy the server may not know its public address, and the key
            # must not be sent to any other host.
            before = query
            query = parse_qsl(following.partition("#")[0].partition("?")[2])
            if query == before:
                # A link back to the same page would loop forever.
                raise _not_hookhub(answer)

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        content: bytes | None = None,
        content_type: str = "application/json",
        repeatable: bool = False,
    ) -> requests.Response:
        """Send a request, retry where that is safe, and return the 2xx response; raise HookHubError."""
        # A POST that is not idempotent (repeating it might create a second webhook) is retried only if the first one
        # certainly had no effect: the connection was not established, or the answer was 429.
        repeatable = repeatable or method != "POST"
        for attempt in range(1, self._retries + 2):
            last = attempt > self._retries
            try:
                answer = self.session.request(
                    method,
                    f"{self._base}/{path}",
                    params=list(query),
                    data=content,
                    headers={"Content-Type": content_type} if content is not None else None,
                    timeout=self._timeout,
                    # Following a redirect would turn POST into GET.
                    allow_redirects=False,
                )
            # The libraries raise HTTPError, OSError and ValueError for responses that are not valid HTTP. A ValueError
            # cannot be about the request, which was validated before.
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                if last or not (_is_passing(error) and (repeatable or _never_arrived(error))):
                    raise _no_answer(error, base=self._base, attempts=attempt) from error
                pause = backoff(attempt, jitter=random.random())  # noqa: S311 - jitter needs no cryptography.
            else:
                if 200 <= answer.status_code < 300:
                    return answer
                again = answer.status_code in _RETRIED and (repeatable or answer.status_code == 429)
                asked = retry_after(answer.headers.get("Retry-After"), now=datetime.now(timezone.utc))
                if last or not again or asked > MAX_RETRY_AFTER:
                    raise _refusal(answer, may_repeat=repeatable)
                pause = max(asked, backoff(attempt, jitter=random.random()))  # noqa: S311 - jitter needs no cryptography.
            time.sleep(pause.total_seconds())
        raise AssertionError("the last attempt returns or raises")


def _is_base_url(url: object) -> bool:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or "@" in parts.netloc) and port != 0
    return bool(parts.scheme in {"http", "https"} and host and plain)


def clean_key(api_key: str) -> str:
    """Return an API key without surrounding white space.

    Raise ValueError if it cannot be a key (empty, longer than 1,000 characters, or not visible ASCII); the message does
    not contain it.
    """
    # A key read from a file ends in a line break.
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not KEY.fullmatch(key):
        raise ValueError("api_key is empty, too long or contains invalid characters; copy it again")
    return key


def backoff(attempt: int, *, jitter: float) -> timedelta:
    """Return the pause after the failed attempt number ``attempt`` (from 1): exponential, capped, with jitter.

    ``jitter`` is a random number from 0 to 1, which scales the pause to between half and all of its length.
    """
    # The exponent is bounded far above the cap, so that the product cannot overflow.
    whole: timedelta = min(FIRST_BACKOFF * (1 << min(attempt - 1, 16)), MAX_BACKOFF)
    return whole * (0.5 + jitter / 2)


def retry_after(header: str | None, *, now: datetime) -> timedelta:
    """Return the wait that a Retry-After header asks for (seconds or an HTTP date); zero if it cannot be parsed."""
    if not header:
        return timedelta(0)
    if header.isascii() and header.isdigit():
        # ``int`` rejects numbers of more than a few thousand digits; ten say the same, since the result is capped.
        digits = header.lstrip("0") or "0"
        return timedelta(seconds=min(int(digits[:10]), 10**9))
    try:
        at = parsedate_to_datetime(header)
        return max(timedelta(0), (at if at.tzinfo else at.replace(tzinfo=timezone.utc)) - now)
    # Python 3.9 raises TypeError or IndexError for an invalid date; a year out of range raises OverflowError.
    except (ValueError, TypeError, IndexError, OverflowError):
        return timedelta(0)


def _batches(events: Iterable[Event]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for event in events:
        # The key is generated once, before the first attempt, so that a retry of the request is deduplicated.
        line = _encode((event if event.id else replace(event, id=uuid.uuid4().hex)).as_json()) + b"\n"
        if batch and (len(batch) == BATCH_EVENTS or size + len(line) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(line)
        size += len(line)
    if batch:
        yield batch


def _encode(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate (os.fsdecode makes one of a byte that is not UTF-8) is written as a JSON escape.
    return text.encode(errors="backslashreplace")


def _published(answer: requests.Response, *, expected: int) -> list[PublishedEvent]:
    replayed = answer.headers.get("Idempotent-Replayed") == "true"
    try:
        events = [
            PublishedEvent(
                id=_text(each["id"]),
                type=_text(each["type"]),
                accepted_at=_moment(each["accepted_at"]),
                replayed=replayed,
            )
            for each in _object(answer)["events"]
        ]
    except (LookupError, TypeError, ValueError, OverflowError):
        raise _not_hookhub(answer) from None
    if len(events) != expected:
        raise _not_hookhub(answer)
    return events


def _object(answer: requests.Response) -> Json:
    try:
        parsed = json.loads(answer.content)
    # JSON nested too deeply raises RecursionError instead of ValueError.
    except (ValueError, RecursionError):
        raise _not_hookhub(answer) from None
    if not isinstance(parsed, dict):
        raise _not_hookhub(answer)
    return parsed


def _not_hookhub(answer: requests.Response) -> HookHubError:
    message = f"{answer.url} answered {answer.status_code}, but not with a HookHub API response: {_beginning(answer)}"
    return HookHubError(message, status=answer.status_code, code="not_hookhub", advice="Check the base URL.")


def _refusal(answer: requests.Response, *, may_repeat: bool) -> HookHubError:
    status = answer.status_code
    if 300 <= status < 400:
        message = f"{answer.url} redirects to {str(answer.headers.get('Location'))[:200]}"
        return HookHubError(message, status=status, code="redirected", advice="Use that address as the base URL.")
    advice = _ADVICE.get(status, "")
    if status >= 500:
        advice = "Retry later." if may_repeat else "The request may have taken effect; check before you retry."
    try:
        error = json.loads(answer.content)["error"]
        fields = [(_text(each["field"]), _text(each["message"])) for each in error.get("fields") or ()]
        message, code = _text(error["message"]), _text(error["code"])
        return HookHubError(message, status=status, code=code, fields=fields, advice=advice)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        message = f"not a HookHub API response: {_beginning(answer)}"
        return HookHubError(message, status=status, code="unknown", advice=advice)


def _no_answer(error: Exception, *, base: str, attempts: int) -> ConnectionFailed:
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    message = f"no response from {base}{tried}: {error}"
    return ConnectionFailed(
        message, status=None, code="connection_failed", advice="Check the base URL, and that HookHub is running."
    )


def _beginning(answer: requests.Response) -> str:
    return repr(answer.content[:200].decode(errors="replace"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a string")
    return value


def _moment(value: object) -> datetime:
    found = MOMENT.fullmatch(_text(value))
    if found is None:
        raise ValueError("not a timestamp")
    clock, decimals, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone
    return datetime.fromisoformat(f"{clock}.{(decimals or '')[:6]:0<6}{zone}")


def _is_passing(error: Exception) -> bool:
    """Return whether an error is transient: a network error, but not an invalid certificate or request."""
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, requests.exceptions.SSLError)


def _never_arrived(error: Exception) -> bool:
    """Return whether the connection was never established, so that no byte can have reached the server."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _states(state: str | Sequence[str] | None) -> str | list[str] | None:
    # An empty list would drop the filter from a query, and select the deliveries in every state.
    if state is not None and not state:
        raise ValueError("state must not be empty")
    return state if state is None or isinstance(state, str) else list(state)


def _time(at: datetime | None) -> str | None:
    if at is not None and at.utcoffset() is None:
        raise ValueError("a timestamp must have a time zone, for example datetime.now(timezone.utc)")
    return at.isoformat() if at is not None else None
