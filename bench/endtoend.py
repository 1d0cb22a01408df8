"""Taking in and delivering at once: the highest rate a HookHub keeps up with, and how late events are below it."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from redis import Redis

from bench.publisher import percentile
from bench.stage import ROOT, Sink, Stage, Tell, stage, wait_for
from hookhub import embedded, service

# Each type of event goes to a webhook of its own, so that what one webhook may have in flight is not the limit.
KINDS = 20
BATCH = 100
IDLE_PER_S = 10
# One way of publishing is measured with so many loads: some to find its highest rate, one at a half of it, one at 80 %.
TRIES = 8
LOADS = TRIES + 2
# Before them, so many events as fast as they are taken, from which follows where to begin.
PROBE = 5000
# The search ends when the rate it fell behind at is so little above the one it kept up with.
CLOSE_ENOUGH = 1.1
SHORTEST_SECONDS = 1.5
PATIENCE_SECONDS = 120
# The last of a load may arrive so long after its publisher is done, and some part of the load's length later, before
# it is said that the queue grows.
LATE_SECONDS, LATE_PART = 0.15, 0.05


@dataclass(frozen=True)
class Way:
    """One way to publish: what bench.publisher is told about it."""

    name: str
    target: tuple[str, ...]
    events: int


@dataclass(frozen=True)
class Run:
    """What became of one load: what was published, what arrived, how late the publisher and the last arrival were."""

    accepted: int
    distinct: int
    duplicated: int
    seconds: float
    behind: float
    trailing: float
    latencies: list[float]

    @property
    def kept_up(self) -> bool:
        """Whether all went out about as fast as it came in."""
        late = LATE_SECONDS + LATE_PART * self.seconds
        return self.behind <= late and self.trailing <= late


@dataclass
class Scene:
    """A HookHub with its receiver, and every load that it was under so far."""

    bench: Stage
    sink: Sink
    runs: list[Run] = field(default_factory=list)

    @property
    def redis_url(self) -> str:
        """Where its Redis is."""
        return self.bench.environment["REDIS_URL"] or embedded.redis_url(self.bench.home)

    @property
    def stream(self) -> str:
        """What its stream of published events is called."""
        return f"{self.bench.environment['HOOKHUB_QUEUE']}:events"

    def ways(self) -> list[Way]:
        """Give every way there is to publish: one event a request, batches, and the stream in Redis."""
        api = (self.bench.url, "--key", self.bench.key)
        stream = (self.redis_url, "--stream", self.stream)
        return [Way("single", api, 1), Way("batch", api, BATCH), Way("stream", stream, BATCH)]

    def is_busy(self) -> bool:
        """Tell whether any event is still in the stream, to be fanned out, or to be delivered."""
        with Redis.from_url(self.redis_url) as redis:
            return bool(redis.xlen(self.stream)) or self.bench.unsettled()

    def load(self, way: Way, *, rate: float, seconds: float, most: int = 0) -> Run:
        """Publish at one rate, or at 0 as fast as it is taken, wait until all is settled, and say what became of it.

        With ``most`` it is over after about so many events.
        """
        self.sink.reset()
        command = [sys.executable, "-m", "bench.publisher", *way.target, "--events", str(way.events)]
        command += ["--rate", str(rate), "--seconds", str(seconds), "--kinds", str(KINDS), "--most", str(most)]
        done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        told: dict[str, Any] = json.loads(done.stdout)
        if wrong := told["refused"] + told["broken"] + told["unanswered"]:
            raise RuntimeError(f"{wrong} requests were not accepted")
        wait_for(lambda: not self.is_busy(), "the last delivery to settle", seconds=PATIENCE_SECONDS, pause=0.1)
        report = self.sink.report().values()
        last_at = max((row["last_at"] for row in report), default=told["ended_at"])
        found = Run(
            accepted=told["accepted"],
            distinct=sum(row["distinct"] for row in report),
            duplicated=sum(row["duplicated"] for row in report),
            seconds=told["ended_at"] - told["begun_at"],
            behind=told["behind_s"] if rate else 0.0,
            trailing=max(0.0, last_at - told["ended_at"]),
            latencies=self.sink.latencies(),
        )
        self.runs.append(found)
        return found


def run(seconds: float, tell: Tell) -> dict[str, object]:
    """from the moment an event was meant to be published to its arrival, while all is busy."""
    figures: dict[str, object] = {}
    share = max(SHORTEST_SECONDS, seconds / LOADS)
    with Sink() as sink, stage() as bench, bench.running("web"), bench.running("worker"), bench.client() as client:
        for kind in range(KINDS):
            client.webhooks.create(sink.url(), events=[f"push.{kind:02d}"])
        scene = Scene(bench, sink)
        tell(f"{IDLE_PER_S} events a second …")
        idle = scene.load(scene.ways()[0], rate=IDLE_PER_S, seconds=max(3.0, share))
        figures["idle_p50_ms"] = percentile(idle.latencies, 50)
        for way in scene.ways():
            figures |= measure(scene, way, seconds=share, tell=tell)
        service.run("check_ledger", "--settling", "0", environment=bench.environment)
    figures["events"] = sum(one.accepted for one in scene.runs)
    figures["lost"] = sum(one.accepted - one.distinct for one in scene.runs)
    figures["duplicated"] = sum(one.duplicated for one in scene.runs)
    return figures


def measure(scene: Scene, way: Way, *, seconds: float, tell: Tell) -> dict[str, object]:
    """Measure one way of publishing: its highest rate, and the latencies at a half and at 80 % of that."""
    best = highest(scene, way, seconds=seconds, tell=tell)
    figures: dict[str, object] = {f"{way.name}_sustained_per_s": round(best)}
    for part, suffix in ((0.5, "half"), (0.8, "80")):
        found = scene.load(way, rate=best * part, seconds=seconds)
        for percent in (50, 95, 99):
            figures[f"{way.name}_p{percent}_ms_at_{suffix}"] = percentile(found.latencies, percent)
    tell(f"{way.name}: {figures}")
    return figures


def highest(scene: Scene, way: Way, *, seconds: float, tell: Tell) -> float:
    """Give the highest of the rates tried, in events a second, at which all goes out about as fast as it comes in."""
    tell(f"{way.name}: {PROBE:,} events as fast as they are taken …")
    probe = scene.load(way, rate=0, seconds=PATIENCE_SECONDS, most=PROBE)
    rate = 0.7 * probe.accepted / (probe.seconds + probe.trailing)
    kept_up, fell_behind = 0.0, float("inf")
    for _ in range(TRIES):
        found = scene.load(way, rate=rate, seconds=seconds)
        verdict = "kept up" if found.kept_up else "fell behind"
        tell(f"  {rate:,.0f} events a second: {verdict}, p99 {percentile(found.latencies, 99)} ms")
        if found.kept_up:
            kept_up = rate
        else:
            fell_behind = rate
        if fell_behind <= kept_up * CLOSE_ENOUGH:
            break
        rate = min(1.3 * kept_up, (kept_up + fell_behind) / 2) if kept_up else 0.6 * rate
    if not kept_up:
        raise RuntimeError(f"HookHub fell behind at every rate, the last of them {fell_behind:,.0f} events a second")
    return kept_up
