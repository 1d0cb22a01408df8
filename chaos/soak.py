"""The soak: half an hour of load and kills; samples, checks and charts memory, open files and dead rows."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import psycopg

from chaos.checkers.leaks import DEAD_ROWS, PARENT_FILES, PARENT_MEMORY, grown, too_few_kills
from chaos.checkers.report import Verdict
from chaos.nemesis.background import in_background
from chaos.nemesis.context import RunContext
from chaos.runner import run
from chaos.scenarios.scenario import NARROW, STEADY, Scenario, Subscriber
from chaos.svg import Curve, Panel, draw
from chaos.workload.behaviour import ReceiverBehaviour
from deliveries.failpoints import FAILPOINTS
from testbed.processes import Log, with_descendants
from testbed.servers import Servers, temporary_home

MINUTES = 30.0
# Seconds between two faults.
EVERY_SECONDS = 6.5
SAMPLE_EVERY_SECONDS = 5.0
MEGABYTE = 1e6

KILLS = (
    *("kill-child",) * 16,
    *("kill-worker",) * 4,
    *("kill-web",) * 2,
    *(f"kill-at-{point}" for point in FAILPOINTS),
)  # fmt: skip
OTHERS = ("flush-redis", "terminate-backends", "stop-worker", "stall-redis-briefly", "stall-postgres-briefly")

SOAK = Scenario(
    "soak",
    "half an hour of load and kills repeats only what was in flight, and leaks nothing",
    faults=KILLS + OTHERS,
    every=EVERY_SECONDS,
    subscribers=(
        STEADY,
        NARROW,
        Subscriber(
            "/flaky",
            topics=("issues",),
            behaviours=(ReceiverBehaviour({"200": 93, "500": 4, "reset": 2, "slow": 1}),),
            schedule=(1,) * 6,
        ),
    ),
    # The parent of the first worker survives the whole soak, so its memory shows leaks.
    protected=("worker",),
    # The effects of an earlier fault may still delay it.
    stop_grace=8,
    rates={"single": 6, "batch": 12, "stream": 4},
    late_allowed=15,
)

COUNT_ROWS = (
    "SELECT coalesce(sum(n_dead_tup), 0)::float8, coalesce(sum(n_live_tup), 0)::float8 FROM pg_stat_user_tables"
)


@dataclass
class Samples:
    """What was sampled over time: curves by name, as (seconds, value)."""

    begun_at: float = field(default_factory=time.time)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Add a sample."""
        self.curves.setdefault(name, []).append((time.time() - self.begun_at, value))

    def take(self, context: RunContext) -> None:
        """Sample the processes and the tables."""
        for name in ("web", "worker"):
            process = context.instance.running.get(name)
            if process is None:
                continue
            with suppress(psutil.Error):
                family = with_descendants(psutil.Process(process.pid))
                memory, files = zip(*[(one.memory_info().rss, one.num_fds()) for one in family], strict=True)
                self.add(f"{name}: largest process", max(memory) / MEGABYTE)
                self.add(f"{name}: open files", float(sum(files)))
                if name in SOAK.protected:
                    # No other process lives long enough to show a leak.
                    self.add(PARENT_MEMORY, memory[0] / MEGABYTE)
                    self.add(PARENT_FILES, float(files[0]))
        with suppress(psycopg.Error), psycopg.connect(context.instance.database_url, connect_timeout=2) as connection:
            dead, live = connection.execute(COUNT_ROWS).fetchone() or (0.0, 0.0)
            self.add(DEAD_ROWS, dead)
            self.add("live rows", live)

    def picture(self, kills: list[float], *, title: str) -> str:
        """Return the chart of all curves as SVG, with the kills as ticks."""

        def panel(title: str, unit: str, *names: str) -> Panel:
            return Panel(title, unit, [Curve(name, self.curves.get(name, [])) for name in names])

        until = max((points[-1][0] for points in self.curves.values()), default=1.0)
        panels = [
            panel("Memory", " MB", "worker: largest process", "web: largest process", PARENT_MEMORY),
            panel("Open files", "", "worker: open files", "web: open files", PARENT_FILES),
            panel("Rows in PostgreSQL", "", "live rows", DEAD_ROWS),
        ]
        return draw(title, panels, marks=kills, until=until)


def soak(*, seed: int, minutes: float, picture: Path, log: Log, keep: Path | None = None) -> Verdict:
    """Run the soak for ``minutes``, write the chart, and return the verdict; growth is a violation, too."""
    samples = Samples()
    seconds = minutes * 60
    scenario = replace(SOAK, seconds=seconds, draws=max(1, int(seconds / EVERY_SECONDS)))
    kills: list[float] = []

    @contextmanager
    def watched(context: RunContext) -> Iterator[None]:
        """Sample on a separate thread while the publishers run, and check the samples at the end."""
        samples.begun_at = time.time()

        def sample(is_over: threading.Event) -> None:
            while not is_over.wait(SAMPLE_EVERY_SECONDS):
                samples.take(context)

        with in_background(sample, name="samples"):
            yield
        kills.extend(one.at - samples.begun_at for one in context.interruptions if one.is_kill)
        context.complaints += grown(samples.curves) + too_few_kills(len(kills), minutes=minutes)

    with temporary_home("hookhub-chaos-") as home, Servers(home) as servers:
        verdict = run(scenario, seed=seed, servers=servers, log=log, keep=keep, around=watched)
    title = f"{minutes:g} minutes, {verdict.figures['accepted']:,} events, {len(kills)} kills (ticks)"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(samples.picture(kills, title=title))
    log(f"Chart written to {picture}.")
    return verdict
