"""A wrong clock for one process of a scenario."""

import os
import sys
import time
from datetime import datetime, timedelta, tzinfo

CLOCK = "CHAOS_CLOCK_SECONDS"
# Tolerance for the time between two clock readings.
CLOCK_SLACK = timedelta(seconds=60)


def set_clock_wrong() -> None:
    """Shift this process's clock by CHAOS_CLOCK_SECONDS; call it before anything else is imported."""
    off = float(os.environ.get(CLOCK, "0"))
    if not off:
        return
    right_time = time.time

    class WrongDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "WrongDatetime":
            return super().now(tz) + timedelta(seconds=off)

        @classmethod
        def utcnow(cls) -> "WrongDatetime":
            return super().utcnow() + timedelta(seconds=off)

    time.time = lambda: right_time() + off
    vars(sys.modules["datetime"])["datetime"] = WrongDatetime


def prove_clock_wrong() -> None:
    """Raise RuntimeError unless Django's clock is off by CHAOS_CLOCK_SECONDS; Django must be set up."""
    from django.utils import timezone

    wanted = float(os.environ.get(CLOCK, "0"))
    for now in (time.time(), timezone.now().timestamp()):
        # ``clock_gettime`` reads the system clock, which the patches above do not affect.
        off = now - time.clock_gettime(time.CLOCK_REALTIME)
        if abs(off - wanted) > CLOCK_SLACK.total_seconds():
            raise RuntimeError(f"the clock is off by {off:.1f} s instead of {wanted:g} s")
