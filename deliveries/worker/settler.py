"""Settles the results of a worker loop, and keeps them while the database is unavailable."""

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, OperationalError, connection

from deliveries import pipeline, telemetry
from deliveries.pipeline.attempting import AttemptResult, log_fields
from deliveries.policy.outcomes import Delivered
from deliveries.worker.database_clock import Clock
from deliveries.worker.outage import Outage
from deliveries.worker.results import ResultBuffer

log = logging.getLogger("hookhub.drain")

# How long a loop that is shutting down waits for an unavailable database.
SHUTDOWN_DB_TIMEOUT = timedelta(seconds=5)


class Settler:
    """Settles ``results`` and counts those that are settled.

    ``found_ready`` says whether, the last time, any delivery was ready: it may be waiting for what was settled.
    """

    def __init__(self, results: ResultBuffer, *, clock: Clock, outage: Outage) -> None:
        self._results, self._clock, self._outage = results, clock, outage
        self.settled = 0
        self.found_ready = False

    def is_due(self, *, is_urgent: bool) -> bool:
        """Return whether to settle now; not while an unavailable database is left alone."""
        now = time.monotonic()
        return not self._outage.is_waiting(now=now) and self._results.is_due(is_urgent=is_urgent, now=now)

    def settle(self) -> bool:
        """Settle the buffered results; if the database is unavailable, keep them and return False."""
        results = self._results.unsettled
        try:
            self._clock.resync()
            deferred = self._settle(results)
        except (OperationalError, InterfaceError) as error:
            self._keep(error)
            return False
        except DatabaseError:
            log.exception("The database rejected a batch of %d results; settling them one by one", len(results))
            return self._settle_one_by_one()
        self._note_settled(deferred)
        if any(not isinstance(result.outcome, Delivered) for result in results):
            self._review()
        return True

    def _settle(self, results: list[AttemptResult]) -> list[AttemptResult]:
        """Settle results and return those that were deferred."""
        began_at = telemetry.clock()
        done = pipeline.settle(results, is_repeated=self._outage.is_unsettled, now=self._clock())
        if telemetry.is_observed():
            telemetry.settled(without(results, done.deferred), applied=done.applied, began_at=began_at)
        self.settled += len(results) - len(done.deferred)
        self.found_ready = done.found_ready
        return done.deferred

    def _settle_one_by_one(self) -> bool:
        """Settle results one by one after the database rejected the batch, so that only the bad one is lost.

        The lease of its delivery expires; after a few such losses the delivery fails as a poison message.
        """
        results = self._results.unsettled
        deferred: list[AttemptResult] = []
        while results:
            try:
                deferred += self._settle(results[-1:])
            except (OperationalError, InterfaceError) as error:
                results += deferred
                self._keep(error)
                return False
            except DatabaseError:
                claim = results[-1].claim
                log.exception("Could not settle the result of delivery %s", claim.delivery_id, extra=log_fields(claim))
            results.pop()
        self._note_settled(deferred)
        return True

    def _note_settled(self, deferred: list[AttemptResult]) -> None:
        self._outage.settled()
        self._results.settled(deferred, now=time.monotonic())

    def _keep(self, error: Exception) -> None:
        """Keep the results until the database is available again."""
        connection.close()
        self._outage.settling_failed(now=time.monotonic())
        count = len(self._results.unsettled)
        log.warning("The database is unavailable; %d results are waiting to be settled: %s", count, error)

    def _review(self) -> None:
        try:
            pipeline.review(now=self._clock())
        except (DatabaseError, InterfaceError):
            # The webhooks to review stay marked, and the worker's scheduler reviews them too.
            log.exception("Review failed; retrying within a second")
            connection.close()

    def must_abandon(self) -> bool:
        """Return whether a loop that is shutting down must abandon the results: the database is away for too long."""
        is_over = self._outage.has_lasted(SHUTDOWN_DB_TIMEOUT, now=time.monotonic())
        if is_over:
            log.error("Abandoned %d unsettled results; their deliveries will be repeated", len(self._results.unsettled))
        return is_over


def without(results: Sequence[AttemptResult], deferred: Sequence[AttemptResult]) -> Sequence[AttemptResult]:
    """Return the results that were not deferred."""
    if not deferred:
        return results
    # By identity, because comparing results compares their payloads.
    left = set(map(id, deferred))
    return [result for result in results if id(result) not in left]
