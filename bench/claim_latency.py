"""The duration of a claim and of an idle poll in a worker's environment: `python -m bench.claim_latency COUNT`.

Fans out about COUNT of the pending events, then repeatedly claims enough deliveries to fill a worker's slots and
releases them. Prints the medians in milliseconds as one line of JSON.
"""

import json
import os
import statistics
import sys
import time

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
django.setup()


from deliveries import pipeline
from deliveries.db import sql
from deliveries.pipeline import claiming
from deliveries.worker.database_clock import DatabaseClock

REPETITIONS = 40
# Repetitions before the measured ones, in which the statements are prepared.
WARM_UP = 6
SLOTS = 128


def measure(count: int) -> dict[str, float]:
    """Return the medians in milliseconds."""
    sql.prefer_indexes()
    clock = DatabaseClock()
    fanned_out = 0
    while fanned_out < count:
        events = pipeline.fan_out(now=clock()).events
        if not events:
            raise RuntimeError(f"only {fanned_out} of {count} events are pending")
        fanned_out += events
    claims, polls, after = [], [], 0
    for _ in range(WARM_UP + REPETITIONS):
        started = time.perf_counter()
        found = pipeline.claim(SLOTS, cursor=after, now=clock())
        claims.append(time.perf_counter() - started)
        if found:
            after = found[-1].destination.webhook_id
            claiming.release(found)
        started = time.perf_counter()
        claiming.is_anything_to_do(now=clock())
        polls.append(time.perf_counter() - started)
    return {
        "claim_ms": round(statistics.median(claims[WARM_UP:]) * 1000, 2),
        "look_ms": round(statistics.median(polls[WARM_UP:]) * 1000, 2),
    }


def main() -> None:
    print(json.dumps(measure(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
