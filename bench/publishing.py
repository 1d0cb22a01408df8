"""Runs a publisher (bench/publisher.py) in a separate process, and returns what it published and what arrived."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench import load
from bench.setup import ReceiverProcess, fresh_instance
from testbed.instance import Instance
from testbed.processes import run_module
from testbed.sampling import percentiles

WARM_UP_EVENTS = 500


@contextmanager
def running_instance() -> Iterator[tuple[Instance, ReceiverProcess]]:
    """Run a HookHub whose webhooks lead to a receiver; at the end, check its ledger."""
    with (
        ReceiverProcess() as receiver,
        fresh_instance() as instance,
        instance.started("web"),
        instance.started("worker"),
    ):
        load.make_endpoints(instance, receiver.url())
        yield instance, receiver
        instance.check_ledger()


def warm_up(instance: Instance, *, events: int = WARM_UP_EVENTS) -> None:
    """Publish some events, so that every process has its connections and has prepared its statements."""
    publish(api_of(instance), rate=200, seconds=30, most=events, kinds=load.ENDPOINTS)
    instance.wait_until_settled()


@dataclass(frozen=True)
class Published:
    """What a publisher did; all times in seconds.

    ``behind`` is how late it sent a request at worst, ``answered_p50`` the median time from the planned moment to the
    response.
    """

    accepted: int
    begun_at: float
    ended_at: float
    behind: float
    answered_p50: float
    cpu_seconds: float

    @property
    def seconds(self) -> float:
        """Return how long it published."""
        return self.ended_at - self.begun_at


def api_of(instance: Instance) -> tuple[str, ...]:
    """Return a publisher's arguments for the HTTP API."""
    return (instance.url, "--key", instance.key)


def publish(
    target: Sequence[str],
    *,
    rate: float,
    seconds: float,
    kinds: int,
    events: int = 1,
    most: int = 0,
    connections: int = 32,
) -> Published:
    """Publish ``rate`` events per second (0: as fast as they are accepted), ``events`` in each request.

    With ``most``, end after about that many events. Raise RuntimeError when any request was not accepted.
    """
    options = {
        "--rate": rate,
        "--seconds": seconds,
        "--kinds": kinds,
        "--events": events,
        "--most": most,
        "--connections": connections,
    }
    result = run_module("bench.publisher", *target, *(str(word) for option in options.items() for word in option))
    if wrong := result["refused"] + result["broken"] + result["unanswered"]:
        raise RuntimeError(f"{wrong} requests were not accepted")
    return Published(
        accepted=result["accepted"],
        begun_at=result["begun_at"],
        ended_at=result["ended_at"],
        behind=result["behind_s"] if rate else 0.0,
        answered_p50=result["p50_ms"] / 1000,
        cpu_seconds=result["cpu_s"],
    )


def arrivals(receiver: ReceiverProcess, published: Published) -> dict[str, float]:
    """Return how late the events of a load arrived after their planned time, and how many did."""
    counts = receiver.counts("/ok")
    return {
        **percentiles(receiver.latencies()),
        "answer_p50_ms": round(published.answered_p50 * 1000, 2),
        "publisher_most_behind_ms": round(published.behind * 1000, 1),
        "last_after_s": round(max(0.0, counts["last_at"] - published.ended_at), 3),
        "events": published.accepted,
        "lost": published.accepted - counts["distinct"],
        "duplicated": counts["duplicated"],
    }
