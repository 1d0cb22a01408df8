"""Accepting and delivering at the same time: the highest sustained rate of a HookHub, and the latency below it."""

from dataclasses import dataclass, field

from bench import load
from bench.publishing import api_of, publish, running_instance
from bench.setup import ReceiverProcess
from testbed.instance import Instance
from testbed.processes import Log, wait_for
from testbed.sampling import in_ms, percentile, percentiles

BATCH = 100
IDLE_PER_S = 10
# The loads of each way of publishing: several to find its highest rate, one at half of that, and one at 80 %.
TRIES = 8
LOADS = TRIES + 2
# Published as fast as HookHub accepts before the search, to choose its starting rate.
PROBE = 5000
# The search ends when the lowest rate that was too high is within this factor of the highest sustained one.
CLOSE_ENOUGH = 1.1
SHORTEST_SECONDS = 3.0
PATIENCE_SECONDS = 120
# HookHub keeps up if the last event arrives within this many seconds, plus this fraction of the load's duration, after
# the publisher ended; otherwise its queue grows.
LATE_SECONDS, LATE_PART = 0.15, 0.05


@dataclass(frozen=True)
class Route:
    """One way to publish: the arguments for bench.publisher."""

    name: str
    target: tuple[str, ...]
    events: int


@dataclass(frozen=True)
class Run:
    """The result of one load.

    ``behind`` is how late the publisher was at worst, ``trailing`` how long after its end the last event arrived; all
    times are in seconds.
    """

    accepted: int
    distinct: int
    duplicated: int
    seconds: float
    behind: float
    trailing: float
    latencies: list[float]

    @property
    def kept_up(self) -> bool:
        """Return whether the load arrived about as fast as it was published."""
        late = LATE_SECONDS + LATE_PART * self.seconds
        return self.behind <= late and self.trailing <= late


@dataclass
class LoadTest:
    """A HookHub with its receiver, and the loads so far."""

    instance: Instance
    receiver: ReceiverProcess
    runs: list[Run] = field(default_factory=list)

    @property
    def stream(self) -> str:
        """Return the name of its stream of published events."""
        return f"{self.instance.environment['HOOKHUB_QUEUE']}:events"

    def routes(self) -> list[Route]:
        """Return all ways to publish: one event per request, batches, and the stream in Redis."""
        api = api_of(self.instance)
        stream = (self.instance.servers.redis_url, "--stream", self.stream)
        return [Route("single", api, 1), Route("batch", api, BATCH), Route("stream", stream, BATCH)]

    def is_busy(self) -> bool:
        """Return whether any event is in the stream, not fanned out, or not delivered."""
        with self.instance.servers.redis() as redis:
            return bool(redis.xlen(self.stream)) or self.instance.unsettled()

    def load(self, route: Route, *, rate: float, seconds: float, most: int = 0) -> Run:
        """Publish at a rate (0: as fast as accepted), wait until everything is settled, and return the result.

        With ``most``, publishing ends after about that many events.
        """
        self.receiver.reset()
        result = publish(route.target, rate=rate, seconds=seconds, kinds=load.ENDPOINTS, events=route.events, most=most)
        wait_for(lambda: not self.is_busy(), "the last delivery to settle", seconds=PATIENCE_SECONDS, pause=0.1)
        report = self.receiver.report().values()
        last_at = max((row["last_at"] for row in report), default=result.ended_at)
        found = Run(
            accepted=result.accepted,
            distinct=sum(row["distinct"] for row in report),
            duplicated=sum(row["duplicated"] for row in report),
            seconds=result.seconds,
            behind=result.behind,
            trailing=max(0.0, last_at - result.ended_at),
            latencies=self.receiver.latencies(),
        )
        self.runs.append(found)
        return found


def run(seconds: float, log: Log) -> dict[str, object]:
    """from the planned publishing time of an event to its arrival, under sustained load."""
    figures: dict[str, object] = {}
    share = max(SHORTEST_SECONDS, seconds / LOADS)
    with running_instance() as (instance, receiver):
        load_test = LoadTest(instance, receiver)
        log(f"{IDLE_PER_S} events per second …")
        idle = load_test.load(load_test.routes()[0], rate=IDLE_PER_S, seconds=max(3.0, share))
        figures["idle_p50_ms"] = in_ms(percentile(idle.latencies, 50))
        for route in load_test.routes():
            figures |= measure(load_test, route, seconds=share, log=log)
    figures["events"] = sum(one.accepted for one in load_test.runs)
    figures["lost"] = sum(one.accepted - one.distinct for one in load_test.runs)
    figures["duplicated"] = sum(one.duplicated for one in load_test.runs)
    return figures


def measure(load_test: LoadTest, route: Route, *, seconds: float, log: Log) -> dict[str, object]:
    """Measure one way of publishing: its highest sustained rate, and the latencies at half and at 80 % of it."""
    best = highest(load_test, route, seconds=seconds, log=log)
    figures: dict[str, object] = {f"{route.name}_sustained_per_s": round(best)}
    for part, suffix in ((0.5, "half"), (0.8, "80")):
        found = load_test.load(route, rate=best * part, seconds=seconds)
        figures |= {f"{route.name}_{name}": ms for name, ms in percentiles(found.latencies, f"_at_{suffix}").items()}
    log(f"{route.name}: {figures}")
    return figures


def highest(load_test: LoadTest, route: Route, *, seconds: float, log: Log) -> float:
    """Return the highest rate tried, in events per second, that HookHub sustains."""
    log(f"{route.name}: {PROBE:,} events as fast as HookHub accepts them …")
    probe = load_test.load(route, rate=0, seconds=PATIENCE_SECONDS, most=PROBE)
    rate = 0.7 * probe.accepted / (probe.seconds + probe.trailing)
    kept_up, fell_behind = 0.0, float("inf")
    for _ in range(TRIES):
        found = load_test.load(route, rate=rate, seconds=seconds)
        verdict = "kept up" if found.kept_up else "fell behind"
        log(f"  {rate:,.0f} events per second: {verdict}, p99 {in_ms(percentile(found.latencies, 99))} ms")
        if found.kept_up:
            kept_up = rate
        else:
            fell_behind = rate
        if fell_behind <= kept_up * CLOSE_ENOUGH:
            break
        rate = min(1.3 * kept_up, (kept_up + fell_behind) / 2) if kept_up else 0.6 * rate
    if not kept_up:
        raise RuntimeError(f"HookHub fell behind at every rate, down to {fell_behind:,.0f} events per second")
    return kept_up
