"""Starts the requests of claimed deliveries and collects their results."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings

from deliveries import pipeline
from deliveries.pipeline import attempting, claiming
from deliveries.pipeline.claiming import Claim
from deliveries.sending.exchange import Request
from deliveries.sending.sender import Sender
from deliveries.worker.database_clock import Clock
from deliveries.worker.results import ResultBuffer
from deliveries.worker.slots import SlotTracker

# Requests are sent after this many have been built, so that the first do not wait for the last of a large batch.
AT_ONCE = 64
# How long after its claim a request may start that counts against a rate, which is kept with as much to spare.
MAX_LAG = timedelta(seconds=2)


class Dispatcher:
    """The requests of one worker loop: each occupies one of ``slots`` until its result is added to ``results``."""

    def __init__(self, sender: Sender, clock: Clock, *, slots: SlotTracker, results: ResultBuffer) -> None:
        self._sender, self._clock, self._slots, self._results = sender, clock, slots, results

    def start(self, claims: Sequence[Claim]) -> None:
        """Start the claimed deliveries, and release those whose claim was too long ago."""
        now, started_at = self._clock(), time.monotonic()
        timely = [claim for claim in claims if is_timely(claim, now=now)]
        for claim in timely:
            self._slots.start(claim, now=started_at)
        for first in range(0, len(timely), AT_ONCE):
            if first:
                self.collect(timedelta(0))
            for result in pipeline.attempt(timely[first : first + AT_ONCE], sender=self._sender, now=self._clock()):
                self._slots.end(result.claim)
                self._results.add(result, now=started_at)
        # Last, because it may fail; the requests have been started by then.
        if len(timely) < len(claims):
            started = {claim.delivery_id for claim in timely}
            claiming.release([claim for claim in claims if claim.delivery_id not in started])

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
    """Return whether a claim may be started: its lease must outlast the attempt.

    If the receiver allows a rate, its request must follow the claim, by which requests are counted.
    """
    if claim.leased_until - now < settings.HOOKHUB_MAX_TIMEOUT:
        return False
    return claim.destination.allowed_rate is None or claim.leased_until - settings.HOOKHUB_LEASE >= now - MAX_LAG


def _read_token(token: object) -> tuple[Claim, Request, datetime]:
    match token:
        case (Claim() as claim, Request() as request, datetime() as started_at):
            return claim, request, started_at
    raise TypeError(f"the sender returned an unknown token: {token!r}")
