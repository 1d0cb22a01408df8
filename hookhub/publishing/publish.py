"""The use case "publish": validate a request's events, translate them, count them against the limits, store them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from django.db import DatabaseError, InterfaceError, OperationalError

from deliveries import pipeline, telemetry, timezone
from deliveries.db import sql
from deliveries.events import NO_SNAPSHOT, Batch, IdempotencyConflict, NameSnapshot, NewEvent, Receipt
from deliveries.models import Organization
from deliveries.pipeline import accepting
from deliveries.rates import Standing
from hookhub.http import rate_limits
from hookhub.http.refusals import conflict
from hookhub.postgresql.asynchronous import AsyncConnection
from hookhub.publishing import parse
from hookhub.publishing.parse import ParsedRequest
from hookhub.publishing.translate import translate, with_keys
from hookhub.publishing.validate import validate_data

KEY_REUSED = "was already used with different content; use a new key for a new event"


def publish(
    parsed: ParsedRequest,
    *,
    organization: Organization,
    header: str | None,
    content: bytes,
    hops: str | None,
    trace: str | None,
    caller: str,
    now: datetime,
) -> tuple[object, dict[str, str]]:
    """Store a request's events, all or none, and return the body and the headers of the response.

    ``header`` is the request's Idempotency-Key, ``content`` its body, ``hops`` its HookHub-Hops header, ``trace`` its
    trace as ``parse.trace_of`` returns it. Raise a Refusal for what is invalid, and TooMany above a rate limit.
    """
    validate_data(parsed, organization=organization)
    span = telemetry.begin_accept(trace)
    events = translate(
        parsed,
        organization=organization,
        finish=lambda new: with_keys(new, parsed, header=header, content=content),
        hops=parse.hops_of(hops),
        trace=span.own,
        now=now,
    )
    answer = store(events, parsed, organization=organization, caller=caller, now=now)
    telemetry.end_accept(span, events=len(events))
    return answer


def store(
    events: Sequence[NewEvent],
    parsed: ParsedRequest,
    *,
    organization: Organization,
    caller: str,
    snapshot: NameSnapshot = NO_SNAPSHOT,
    now: datetime,
) -> tuple[object, dict[str, str]]:
    """Count the events against the limits, store them, and return the body and the headers of the response.

    Raise TooMany above a limit, and a 409 for a key that was used with other content.
    """
    with rate_limits.taking_events(len(events), caller=caller, organization=organization) as standings:
        try:
            receipts = pipeline.accept(events, snapshot=snapshot, now=now)
        except IdempotencyConflict as error:
            fields = {parsed.field_path(position, "id"): KEY_REUSED for position in error.positions}
            raise conflict("An idempotency key was already used with different content.", fields=fields) from error
    return rendered(receipts, parsed, standings=standings)


# A transaction that has stored an event with a key makes all others wait that store one with that key, until it ends:
# after milliseconds, unless a project publishes in a long one. For that, the other requests of a group are not to wait.
LOCK_TIMEOUT = timedelta(milliseconds=250)
# The one that waits is found by storing each alone, which is to delay the others no longer.
LOCK_TIMEOUT_ALONE = timedelta(milliseconds=5)

Stored = list[Receipt] | Exception | None


class GroupStore:
    """Stores the events of several requests together, on connections of its own."""

    def __init__(self) -> None:
        self._connection, self._alone = [
            AsyncConnection(session={"lock_timeout": f"{timeout.total_seconds()}s"})
            for timeout in (LOCK_TIMEOUT, LOCK_TIMEOUT_ALONE)
        ]
        # A connection executes one statement at a time.
        self._turn = asyncio.Lock()

    async def __call__(self, batches: Sequence[Batch]) -> Sequence[Stored]:
        """Return the receipts of each batch, None if the request must be decided alone, or the database's error.

        After an error that the server reports, nothing is stored and each request is decided alone, so that a faulty
        one costs the others nothing. Without the server it is unknown whether the events were stored. A batch that
        waits for a lock has the error of that.
        """
        found = await _stored(batches, self._connection)
        if isinstance(found[0], OperationalError) and sql.is_lock_timeout(found[0]):
            return [await self.alone(batch) for batch in batches]
        return found

    async def alone(self, batch: Batch) -> Stored:
        """Return the same of a single batch, which may have to wait for a lock, and does not."""
        async with self._turn:
            return (await _stored([batch], self._alone))[0]

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.close()
        await self._alone.close()


async def _stored(batches: Sequence[Batch], connection: AsyncConnection) -> Sequence[Stored]:
    try:
        await connection.ready()
        return await accepting.accept_group(batches, connection=connection, now=timezone.now())
    except (DatabaseError, InterfaceError, UnicodeEncodeError) as error:
        if sql.is_lock_timeout(error):
            return [error] * len(batches)
        is_of_server = isinstance(error, OperationalError | InterfaceError)
        is_reported = not is_of_server or connection.is_open
        if is_of_server:
            await connection.close()
        return [None if is_reported else error] * len(batches)


def rendered(
    receipts: Sequence[Receipt], parsed: ParsedRequest, *, standings: Sequence[Standing]
) -> tuple[object, dict[str, str]]:
    """Return the body and the headers of the response to a request whose events are stored."""
    rows = [
        {"id": str(receipt.id), "type": receipt.type, "accepted_at": _as_utc(receipt.accepted_at)}
        for receipt in receipts
    ]
    return {"events": rows} if parsed.is_batch else rows[0], headers_of(receipts, standings=standings)


def headers_of(receipts: Sequence[Receipt], *, standings: Sequence[Standing]) -> dict[str, str]:
    """Return the headers of the response to a request whose events are stored."""
    headers = rate_limits.headers_of(standings)
    if all(receipt.is_repeat for receipt in receipts):
        headers["Idempotent-Replayed"] = "true"
    return headers


def as_json(receipts: Sequence[Receipt], parsed: ParsedRequest) -> bytes:
    """Return the body of ``rendered`` as JSON, without the encoder: neither an event's type nor the rest is escaped."""
    rows = [
        f'{{"id":"{receipt.id}","type":"{receipt.type}","accepted_at":"{_as_utc(receipt.accepted_at)}"}}'
        for receipt in receipts
    ]
    return (f'{{"events":[{",".join(rows)}]}}' if parsed.is_batch else rows[0]).encode()


def _as_utc(moment: datetime) -> str:
    """Return a timestamp in UTC, in the format that the framework uses in all other responses."""
    return moment.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"
