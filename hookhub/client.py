"""The Python client of HookHub's API, on ``requests`` alone.

    with Client("https://hooks.example.org", "hh_…") as hookhub:
        hookhub.publish("push", {"ref": "refs/heads/main"}, repository="acme/widgets")

What the client itself gives meaning to is a frozen dataclass: an Event to publish, what became of it, a replay to wait
for. Webhooks and deliveries are the API's own JSON as a dict, so that its reference is also this client's, and a field
the server learns needs no new client.

A Client keeps one connection open and, like ``requests.Session``, belongs to one thread. It runs on
Python 3.9 and later.
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
    # Python 3.9 and 3.10 have no such name.
    from typing import Self

Json = dict[str, Any]

BATCH_EVENTS = 1_000
# As much as one event may have: HookHub gives a request ten seconds to arrive, and the line may be slow.
BATCH_BYTES = 1 << 20
FIRST_BACKOFF = timedelta(seconds=0.5)
LONGEST_BACKOFF = timedelta(seconds=30)
# A caller that is told to wait longer than this is better served by the error.
LONGEST_RETRY_AFTER = timedelta(minutes=2)

# Visible ASCII; whether it is a key, the server knows.
KEY = re.compile(r"[\x21-\x7e]{1,1000}")
# RFC 3339, as the API writes times; Python 3.9 reads no Z.
MOMENT = re.compile(r"([0-9-]{10}[Tt][0-9:]{8})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})")

_RETRIED = frozenset({429, 502, 503, 504})
_ADVICE = {
    401: "Check the API key.",
    403: "Use an API key that may do this.",
    404: "Check the id or name, and that the base URL is HookHub's.",
    409: "Choose another id, or send exactly what was sent with it before.",
    413: "Send less in one event: link to large content instead of carrying it.",
    429: "Send more slowly.",
}


class HookHubError(Exception):
    """HookHub refused a request, or could not answer it; ``str()`` says why and what to do.

    ``status`` is the HTTP status (None when there was no answer), ``code`` and ``message`` are the API's, ``fields``
    are its (field, message) pairs. ``published`` are the events of a batch that were accepted before it failed.
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
    """No answer came: HookHub is not reachable, or too slow."""


@dataclass(frozen=True)
class Event:
    """Something that happened. ``id`` makes publishing it twice harmless; without one the client makes one up."""

    type: str
    data: Any
    repository: str | None = None
    id: str | None = None
    timestamp: datetime | None = None
    organization: str | None = None

    def as_json(self) -> Json:
        """Give the API's form; a timestamp without a time zone is a ValueError, for nobody could tell what it means."""
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
    """An event HookHub has stored; ``replayed`` when it had it already."""

    id: str
    type: str
    accepted_at: datetime
    replayed: bool


@dataclass(frozen=True)
class Replay:
    """A job that sends deliveries again; ``details`` is the API's JSON."""

    id: str
    finished: bool
    details: Json
    _look: Callable[[], Replay]

    def wait(self, timeout: timedelta = timedelta(minutes=5), *, every: timedelta = timedelta(seconds=1)) -> Replay:
        """Return the finished job, or raise TimeoutError after ``timeout``; the job goes on all the same."""
        until = time.monotonic() + timeout.total_seconds()
        seen = self
        while not seen.finished:
            if time.monotonic() > until:
                raise TimeoutError(f"replay {self.id} is still running after {timeout}")
            time.sleep(every.total_seconds())
            seen = self._look()
        return seen


class Client:
    """One HookHub, spoken to with one API key; use it as a context manager, or ``close()`` it.

    ``timeout`` is how long to wait for a connection and for each part of an answer; ``retries`` is how often to repeat
    a request whose repetition is safe. Proxies and certificates come from the environment, as ``requests`` has it.
    """

    def __init__(
        self, base_url: str, api_key: str, *, timeout: timedelta = timedelta(seconds=10), retries: int = 4
    ) -> None:
        self._calls = _Calls(base_url, api_key, timeout=timeout, retries=retries)
        self.webhooks = Webhooks(self._calls)
        self.deliveries = Deliveries(self._calls)

    def __enter__(self) -> Self:
        """Give the client itself."""
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
        type: str,  # noqa: A002 - the API's own word for it.
        data: Any,
        *,
        repository: str | None = None,
        id: str | None = None,  # noqa: A002 - the API's own word for it.
        timestamp: datetime | None = None,
        organization: str | None = None,
    ) -> PublishedEvent:
        """Publish one event; once this returns, HookHub will deliver it."""
        event = Event(type, data, repository=repository, id=id, timestamp=timestamp, organization=organization)
        return self.publish_batch([event])[0]

    def publish_batch(self, events: Iterable[Event]) -> list[PublishedEvent]:
        """Publish many events, in as few requests as the API's limits allow; the answer is in their order.

        ``events`` may be a generator of any length. When a request fails, the error's ``published`` are the events
        already accepted; repeating the whole call is safe only when the events bring their own ids.
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
        state: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's own word for it.
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> Replay:
        """Ask for deliveries to be sent again, listed or by filter; the job runs by itself, ``wait()`` if you care."""
        wanted = {"deliveries": deliveries and list(deliveries), "webhook": webhook, "state": state, "type": type}
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
    """``client.webhooks``: the webhooks of an organization."""

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
        format: str | None = None,  # noqa: A002 - the API's own word for it.
        settings: Mapping[str, Any] | None = None,
    ) -> Json:
        """Create a webhook; ``settings`` are its other fields. Only this answer (and a rotation's) shows ``secret``."""
        told = {"url": url, "events": list(events), "repository": repository, "organization": organization}
        told |= {"name": name, "format": format, **(settings or {})}
        return self._calls.json(
            "POST", "webhooks", body={key: value for key, value in told.items() if value is not None}
        )

    def list(self, *, repository: str | None = None) -> Iterator[Json]:
        """Iterate over all webhooks, or those of one repository, fetching pages as they are needed."""
        return self._calls.pages("webhooks", {"repository": repository})

    def get(self, webhook: str) -> Json:
        """Get one webhook."""
        return self._calls.json("GET", _path("webhooks", webhook))

    def update(self, webhook: str, changes: Mapping[str, Any]) -> Json:
        """Change the named fields and no others; a value of None sets the field to null."""
        return self._calls.json("PATCH", _path("webhooks", webhook), body=changes)

    def delete(self, webhook: str) -> None:
        """Delete a webhook with all that it still waits for."""
        self._calls.call("DELETE", _path("webhooks", webhook))

    def enable(self, webhook: str, *, release_held: bool = False) -> Json:
        """Let a disabled webhook receive again; with ``release_held`` also what was held for it."""
        body = {"release_held": release_held}
        return self._calls.json("POST", _path("webhooks", webhook, "enable"), body=body, repeatable=True)

    def disable(self, webhook: str) -> Json:
        """Stop sending to a webhook; its deliveries are held."""
        return self._calls.json("POST", _path("webhooks", webhook, "disable"), repeatable=True)

    def rotate_secret(self, webhook: str) -> Json:
        """Give a webhook a new secret, shown in the answer; the old one keeps signing beside it for a while."""
        return self._calls.json("POST", _path("webhooks", webhook, "rotate-secret"))

    def ping(self, webhook: str) -> Json:
        """Send the webhook a test event."""
        return self._calls.json("POST", _path("webhooks", webhook, "ping"))

    def stats(self, webhook: str) -> Json:
        """Get the webhook's numbers."""
        return self._calls.json("GET", _path("webhooks", webhook, "stats"))


class Deliveries:
    """``client.deliveries``: what is owed to webhooks, and what became of it."""

    def __init__(self, calls: _Calls) -> None:
        self._calls = calls

    def list(
        self,
        *,
        webhook: str | None = None,
        event: str | None = None,
        repository: str | None = None,
        state: str | None = None,
        type: str | None = None,  # noqa: A002 - the API's own word for it.
        after: datetime | None = None,
        before: datetime | None = None,
        page_size: int | None = None,
    ) -> Iterator[Json]:
        """Iterate over the deliveries that match every given filter, fetching pages as they are needed."""
        filters = {"webhook": webhook, "event": event, "repository": repository, "state": state, "type": type}
        filters |= {"after": _time(after), "before": _time(before), "limit": str(page_size) if page_size else None}
        return self._calls.pages("deliveries", filters)

    def get(self, delivery: str) -> Json:
        """Get one delivery with its attempts."""
        return self._calls.json("GET", _path("deliveries", delivery))

    def redeliver(self, delivery: str) -> Json:
        """Send a delivery again, whatever its state."""
        return self._calls.json("POST", _path("deliveries", delivery, "redeliver"))

    def cancel(self, delivery: str) -> Json:
        """Give up a delivery that is not finished."""
        return self._calls.json("POST", _path("deliveries", delivery, "cancel"), repeatable=True)


class _Bearer(AuthBase):
    """Sets the key through ``requests``' own door: a header alone would lose to a ``.netrc`` entry for the host."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class _Session(requests.Session):
    """Looks at no redirect: ``requests`` reads where each leads even if it is not to be followed, and fails at some."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: there is nothing to follow."""
        del resp


class _Calls:
    """Requests to one HookHub, repeated where that is safe, with every failure a HookHubError."""

    def __init__(self, base_url: str, api_key: str, *, timeout: timedelta, retries: int) -> None:
        # What was given is not shown: it may be the key, when the two were swapped, or hold a password.
        if not _is_base_url(base_url):
            raise ValueError("base_url must look like https://hooks.example.org, without a user name or a query")
        api_key = clean_key(api_key)
        self._base = f"{base_url.rstrip('/').removesuffix('/v1')}/v1"
        self._timeout = timeout.total_seconds()
        self._retries = retries
        self.session = _Session()
        # No proxy of the environment leads to this very machine.
        self.session.trust_env = urlsplit(base_url).hostname not in {"127.0.0.1", "localhost", "::1"}
        self.session.auth = _Bearer(api_key)
        self.session.headers.update({"User-Agent": "HookHub-Python/1", "Accept": "application/json"})
        # An organization may speak another system's words at the same addresses; this client understands HookHub's.
        self.session.headers["HookHub-Dialect"] = "native"

    def publish(self, lines: bytes) -> requests.Response:
        """Post events as NDJSON; their ids make repeating it safe."""
        return self.call("POST", "events", content=lines, content_type="application/x-ndjson", repeatable=True)

    def json(self, method: str, path: str, *, body: Mapping[str, Any] | None = None, repeatable: bool = False) -> Json:
        """Call and give the JSON object that came back."""
        content = None if body is None else _encode(body)
        return _object(self.call(method, path, content=content, repeatable=repeatable))

    def pages(self, path: str, filters: Mapping[str, str | None]) -> Iterator[Json]:
        """Iterate over a list's results, page after page."""
        query: list[tuple[str, str]] = [(name, value) for name, value in filters.items() if value is not None]
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
            # Only the query is taken from the link: behind a proxy the server may not know its own address, and the
            # key must not follow a link to another one.
            before = query
            query = parse_qsl(following.partition("#")[0].partition("?")[2])
            if query == before:
                # A list that leads to the same page again would never end.
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
        """Make a request until it succeeds, is refused, or has been repeated often enough."""
        # What cannot be repeated (another POST makes another webhook) is repeated only when it certainly had no effect.
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
                    # A redirect would turn POST into GET.
                    allow_redirects=False,
                )
            # The others are what libraries make of answers that are no HTTP; what was sent has been looked at before.
            except (requests.RequestException, HTTPError, OSError, ValueError) as error:
                if last or not (_is_passing(error) and (repeatable or _never_arrived(error))):
                    raise _no_answer(error, base=self._base, attempts=attempt) from error
                pause = backoff(attempt, jitter=random.random())  # noqa: S311 - spreads load, keeps no secret.
            else:
                if 200 <= answer.status_code < 300:
                    return answer
                again = answer.status_code in _RETRIED and (repeatable or answer.status_code == 429)
                asked = retry_after(answer.headers.get("Retry-After"), now=datetime.now(timezone.utc))
                if last or not again or asked > LONGEST_RETRY_AFTER:
                    raise _refusal(answer, may_repeat=repeatable)
                pause = max(asked, backoff(attempt, jitter=random.random()))  # noqa: S311 - spreads load, keeps no secret.
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
    """Return an API key without white space around it; raise ValueError, which does not show it, for what is no key."""
    # Keys read from files end in a line break, on Windows in two.
    key = api_key.strip() if isinstance(api_key, str) else ""
    if not KEY.fullmatch(key):
        raise ValueError("api_key is empty or has characters that no API key has; copy it again as it was shown")
    return key


def backoff(attempt: int, *, jitter: float) -> timedelta:
    """Give the pause after a failed attempt: doubling, capped, and anywhere between half and all of that."""
    # Doubling stops long before it can overflow, and long after the cap.
    whole: timedelta = min(FIRST_BACKOFF * (1 << min(attempt - 1, 16)), LONGEST_BACKOFF)
    return whole * (0.5 + jitter / 2)


def retry_after(header: str | None, *, now: datetime) -> timedelta:
    """Read a Retry-After header in either form; nothing sensible is no wait at all."""
    if not header:
        return timedelta(0)
    if header.isascii() and header.isdigit():
        # Python refuses to read numbers of thousands of digits; these say the same.
        digits = header.lstrip("0") or "0"
        return timedelta(seconds=min(int(digits[:10]), 10**9))
    try:
        at = parsedate_to_datetime(header)
        return max(timedelta(0), (at if at.tzinfo else at.replace(tzinfo=timezone.utc)) - now)
    # Python 3.9 raises TypeError or IndexError for what is no date, and years may be beyond all calendars.
    except (ValueError, TypeError, IndexError, OverflowError):
        return timedelta(0)


def _batches(events: Iterable[Event]) -> Iterator[list[bytes]]:
    batch: list[bytes] = []
    size = 0
    for event in events:
        # Fixed here, once, so that every repetition of the request is recognised.
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
    # Half a surrogate pair, which os.fsdecode makes of a byte that is not UTF-8, is written as its escape.
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
    # Brackets nested deeper than Python follows are no ValueError.
    except (ValueError, RecursionError):
        raise _not_hookhub(answer) from None
    if not isinstance(parsed, dict):
        raise _not_hookhub(answer)
    return parsed


def _not_hookhub(answer: requests.Response) -> HookHubError:
    message = (
        f"{answer.url} answered {answer.status_code} with something that is not HookHub's API: {_beginning(answer)}"
    )
    return HookHubError(message, status=answer.status_code, code="not_hookhub", advice="Check the base URL.")


def _refusal(answer: requests.Response, *, may_repeat: bool) -> HookHubError:
    status = answer.status_code
    if 300 <= status < 400:
        message = f"{answer.url} redirects to {str(answer.headers.get('Location'))[:200]}"
        return HookHubError(message, status=status, code="redirected", advice="Use that as the base URL.")
    advice = _ADVICE.get(status, "")
    if status >= 500:
        advice = "Try again later." if may_repeat else "Look whether it had an effect before trying again."
    try:
        error = json.loads(answer.content)["error"]
        fields = [(_text(each["field"]), _text(each["message"])) for each in error.get("fields") or ()]
        message, code = _text(error["message"]), _text(error["code"])
        return HookHubError(message, status=status, code=code, fields=fields, advice=advice)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        message = f"the answer is not HookHub's: {_beginning(answer)}"
        return HookHubError(message, status=status, code="unknown", advice=advice)


def _no_answer(error: Exception, *, base: str, attempts: int) -> ConnectionFailed:
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    message = f"{base} gave no answer{tried}: {error}"
    return ConnectionFailed(
        message, status=None, code="connection_failed", advice="Check the base URL and that HookHub is running."
    )


def _beginning(answer: requests.Response) -> str:
    return repr(answer.content[:200].decode(errors="replace"))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _moment(value: object) -> datetime:
    found = MOMENT.fullmatch(_text(value))
    if found is None:
        raise ValueError("not a time")
    clock, decimals, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else zone
    return datetime.fromisoformat(f"{clock}.{(decimals or '')[:6]:0<6}{zone}")


def _is_passing(error: Exception) -> bool:
    """Tell whether another attempt may fare better: the network's errors, and not ours or a bad certificate."""
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, requests.exceptions.SSLError)


def _never_arrived(error: Exception) -> bool:
    """Tell whether not one byte can have reached the server."""
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    return isinstance(reason, (NewConnectionError, ConnectTimeoutError))


def _path(*parts: str) -> str:
    return "/".join(quote(part, safe="") for part in parts)


def _time(at: datetime | None) -> str | None:
    if at is not None and at.utcoffset() is None:
        raise ValueError("a time needs a time zone, for example datetime.now(timezone.utc)")
    return at.isoformat() if at is not None else None
