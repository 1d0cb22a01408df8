"""Starts the requests of claimed deliveries and collects their results."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from uuid import UUID

from django.conf import settings

from deliveries import pipeline
from deliveries.pipeline import attempting, claiming
from deliveries.pipeline.attempting import NOTHING_RENDERED
from deliveries.pipeline.claims import Claim
from deliveries.sending.exchange import Request
from deliveries.sending.sender import Sender
from deliveries.worker.database_clock import Clock
from deliveries.worker.results import ResultBuffer
from deliveries.worker.slots import SlotTracker

# Requests are sent after this many have been built, so that the first do not wait for the last of a large batch.
AT_ONCE = 64
# A request that has waited longer for the COMMIT of its claim is built again: receivers refuse old signatures.
FRESH = timedelta(seconds=1)


class Dispatcher:
    """The requests of one worker loop: each occupies one of ``slots`` until its result is added to ``results``.

    Those of webhooks with a rate wait here until their turn comes, and occupy none until then.
    """

    def __init__(self, sender: Sender, clock: Clock, *, slots: SlotTracker, results: ResultBuffer) -> None:
        self._sender, self._clock, self._slots, self._results = sender, clock, slots, results
        # A heap, by the time of the turn, and then by the order of the claims, which cannot be compared.
        self._waiting: list[tuple[datetime, int, Claim]] = []
        self._numbers = count()
        # Claims whose requests must not be started any more.
        self._late: list[Claim] = []
        # When requests were last rendered ahead, and their claims until ``start``.
        self._rendered_at = clock()
        self._committing: Sequence[Claim] = ()

    @property
    def has_waiting(self) -> bool:
        """Return whether a request waits for its turn."""
        return bool(self._waiting)

    @property
    def has_late(self) -> bool:
        """Return whether ``release_late`` has anything to release."""
        return bool(self._late or self._committing)

    def next_turn_in(self) -> float | None:
        """Return the seconds until the next turn, and None if no request waits for one."""
        return (self._waiting[0][0] - self._clock()).total_seconds() if self._waiting else None

    def render_ahead(self, claims: Sequence[Claim]) -> Mapping[UUID, Request]:
        """Return the first requests of claims that are still being committed, for ``start``.

        If ``start`` is not called, because the database has failed, ``release_late`` releases those that it committed.
        """
        self._committing = claims
        first = [claim for claim in claims if claim.starts_at is None][:AT_ONCE]
        self._rendered_at = self._clock()
        return attempting.render_ahead(first, now=self._rendered_at)

    def start(self, claims: Sequence[Claim], *, rendered: Mapping[UUID, Request] = NOTHING_RENDERED) -> None:
        """Start the claimed deliveries, or let them wait for their turn; release those whose claim was too long ago."""
        self._committing = ()
        now = self._clock()
        if now - self._rendered_at > FRESH:
            rendered = NOTHING_RENDERED
        timely = []
        for claim in claims:
            if claim.starts_at is not None:
                heappush(self._waiting, (claim.starts_at, next(self._numbers), claim))
                self._slots.wait(claim)
            elif is_timely(claim, now=now):
                timely.append(claim)
            else:
                self._late.append(claim)
        self.start_due()
        for first in range(0, len(timely), AT_ONCE):
            if first:
                self.start_due()
            self._start(timely[first : first + AT_ONCE], rendered=rendered)
            # They are sent at once, whatever this loop does next.
            self.collect(timedelta(0))
        # Last, because it may fail; the requests have been sent by then.
        self.release_late()

    def start_due(self) -> None:
        """Start the requests whose turn has come."""
        while due := self._take_due():
            self._start(due)
            # They are sent at once, whatever this loop does next.
            self.collect(timedelta(0))

    def stop_waiting(self) -> None:
        """Let no request wait any longer; ``release_late`` releases their deliveries."""
        for _, _, claim in self._waiting:
            self._slots.end_wait(claim)
            self._late.append(claim)
        self._waiting.clear()

    def release_late(self) -> None:
        """Release the deliveries whose requests must not be started any more. Raises django.db.Error."""
        if self.has_late:
            claiming.release([*self._late, *self._committing])
            self._late.clear()
            self._committing = ()

    def _take_due(self) -> list[Claim]:
        """Return some of the claims whose turn has come and is not over."""
        now = self._clock()
        due: list[Claim] = []
        while self._waiting and self._waiting[0][0] <= now and len(due) < AT_ONCE:
            claim = heappop(self._waiting)[2]
            self._slots.end_wait(claim)
            (due if is_timely(claim, now=now) else self._late).append(claim)
        return due

    def _start(self, claims: Sequence[Claim], *, rendered: Mapping[UUID, Request] = NOTHING_RENDERED) -> None:
        started_at = time.monotonic()
        for claim in claims:
            self._slots.start(claim, now=started_at)
        for result in pipeline.attempt(claims, sender=self._sender, rendered=rendered, now=self._clock()):
            self._slots.end(result.claim)
            self._results.add(result, now=started_at)

    def collect(self, timeout: timedelta) -> None:
        """Drive the requests until one ends, for ``timeout`` or until interrupted, and add their results."""
        ended = self._sender.wait(timeout)
        ended_at = time.monotonic()
        for token, exchange in ended:
            claim, request, started_at = _read_token(token)
            self._slots.end(claim)
            result = attempting.finish(claim, request, exchange, started_at=started_at, now=self._clock())
            self._results.add(result, now=ended_at)


def is_timely(claim: Claim, *, now: datetime) -> bool:
    """Return whether a claim may be started: its lease must outlast the attempt, and its turn must not be over."""
    if claim.leased_until - now < settings.HOOKHUB_MAX_TIMEOUT:
        return False
    lag = claim.destination.pace_lag
    return claim.starts_at is None or lag is None or claim.starts_at + lag >= now


def _read_token(token: object) -> tuple[Claim, Request, datetime]:
    match token:
        case (Claim() as claim, Request() as request, datetime() as started_at):
            return claim, request, started_at
    raise TypeError(f"the sender returned an unknown token: {token!r}")
