"""Every scenario, in the order in which `make chaos` runs them."""

import math
from typing import Any

from chaos.mutations.clock import CLOCK
from chaos.scenarios.scenario import (
    FAILING,
    FLAKY,
    NARROW,
    QUICK_SUBSCRIPTIONS,
    SLOW,
    STEADY,
    USUAL,
    Scenario,
    Subscriber,
)
from chaos.workload.behaviour import ReceiverBehaviour
from deliveries.failpoints import FAILPOINTS

HOUR = "3600"
DISABLED = Subscriber("/disabled", behaviours=(ReceiverBehaviour({"500": 1}),), schedule=(2, 1), auto_disable=True)
CHANGING = Subscriber(
    "/changing",
    behaviours=(
        ReceiverBehaviour({"200": 1}, until=2),
        ReceiverBehaviour({"reset": 3, "200": 5, "500": 2, "slow": 1}, until=6),
        ReceiverBehaviour({"200": 30, "drip": 1}),
    ),
    schedule=(1, 1, 1, 1, 1, 1, 1, 1),
)  # fmt: skip
ALL_FLAKY = Subscriber(
    "/first-fails", topics=("push",), behaviours=(ReceiverBehaviour(first="500"),), schedule=(1, 1, 1, 1)
)

SCENARIOS = (
    Scenario(
        "calm",
        "without faults and with receivers of every kind, nothing is lost, duplicated, late or early",
        subscribers=(STEADY, NARROW, FLAKY, FAILING, CHANGING, DISABLED),
        prompt_within=0.4,
        late_allowed=2,
    ),
    Scenario(
        "slow-commits",
        "the wake-up is sent after the COMMIT, however long that takes",
        commit_delay=0.25,
        subscribers=(STEADY,),
        # So seldom that no event benefits from another's wake-up, and with one scheduler to find work without a
        # wake-up.
        rates={"single": 0.6},
        seconds=12,
        workers=1,
        prompt_within=0.2,
    ),
    Scenario(
        "children-killed",
        "what a killed child had in flight is repeated, and nothing else",
        faults=("kill-child",),
        draws=6,
        every=1.5,
        seconds=10,
        subscribers=(*USUAL, SLOW),
        min_leased=3,
    ),
    Scenario(
        "workers-killed",
        "what a killed worker had in flight is claimed again when its leases expire",
        faults=("kill-worker", "kill-parent"),
        draws=3,
        every=4,
        seconds=13,
        subscribers=(*USUAL, SLOW),
        min_leased=1,
        late_allowed=8,
    ),
    Scenario(
        "web-killed",
        "an event is stored before it is acknowledged",
        faults=("kill-web",),
        draws=5,
        every=2.5,
        seconds=13,
    ),
    Scenario(
        "workers-stopped",
        "a stopped worker settles what it has in flight; nothing is sent twice because of it",
        faults=("stop-worker",),
        draws=3,
        every=2,
        subscribers=(STEADY, FLAKY, SLOW),
    ),
    Scenario(
        "shutdown",
        "everything stopped at once under load ends in time, and nothing is sent twice because of it",
        faults=("stop-everything",),
        draws=2,
        every=4,
        subscribers=(STEADY, FLAKY, SLOW),
        late_allowed=12,
    ),
    Scenario(
        "failpoints-killed",
        "a process can die at any boundary of the pipeline without losing anything",
        faults=(*(f"kill-at-{point}" for point in FAILPOINTS), "kill-mid-fan-out"),
        every=1.5,
        seconds=15,
        subscribers=(STEADY, NARROW, FLAKY),
        # At least one at each point between claiming and settling.
        min_leased=4,
    ),
    Scenario(
        "failpoints-held-up",
        "a process can be paused beyond its leases at any boundary after the claim, and then resume",
        faults=(
            "hold-up-at-fanned-out",
            "hold-up-at-claimed",
            "hold-up-at-sent",
            "hold-up-at-answered",
            "hold-up-at-half-settled",
        ),
        every=1,
        late_allowed=8,
        subscribers=(STEADY, ALL_FLAKY),
    ),
    Scenario(
        "redis-killed",
        "Redis killed and restarted empty loses no delivery",
        faults=("kill-redis",),
        draws=2,
        every=5,
        seconds=12,
    ),
    Scenario("redis-flushed", "FLUSHALL loses no delivery", faults=("flush-redis",), draws=5, every=1.5, seconds=10),
    Scenario(
        "redis-stalled",
        "Redis that accepts connections but does not answer for 30 s delays nothing by more than a few seconds",
        faults=("stall-redis",),
        seconds=34,
    ),
    Scenario(
        "redis-stalled-at-shutdown",
        "a worker stops although Redis hangs",
        faults=("stop-worker-while-redis-hangs",),
        draws=2,
        every=3,
        # It talks to Redis several times while it shuts down.
        stop_grace=11,
    ),
    Scenario("redis-full", "Redis out of memory loses no delivery", faults=("fill-redis",), seconds=9),
    Scenario(
        "redis-absent",
        "everything is delivered without Redis from the start, and after it is started",
        before=("lose-redis",),
        faults=("revive",),
        first_after=8,
        seconds=14,
    ),
    Scenario(
        "postgres-stopped",
        "PostgreSQL stopped immediately and restarted loses nothing that was acknowledged",
        faults=("stop-postgres", "kill-postgres"),
        every=5,
        seconds=14,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-backends",
        "connections terminated, and a backend killed so that the cluster goes through recovery, lose nothing",
        faults=("terminate-backends", "kill-backend"),
        draws=4,
        every=3,
        seconds=14,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-stalled",
        "PostgreSQL that does not answer for longer than the leases loses nothing",
        faults=("stall-postgres-briefly", "stall-postgres"),
        every=4,
        seconds=16,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-exhausted",
        "no free connection to PostgreSQL loses nothing",
        faults=("exhaust-connections",),
        seconds=9,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-read-only",
        "a read-only PostgreSQL, and a standby in its place, lose nothing",
        faults=("turn-read-only", "fail-over"),
        every=5,
        seconds=14,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "clocks-wrong",
        "one worker's clock an hour ahead and another's an hour behind change nothing",
        extra_environment={"worker": {CLOCK: HOUR}, "worker-2": {CLOCK: f"-{HOUR}"}},
        faults=("kill-child",),
        draws=2,
    ),
    Scenario(
        "network-database",
        "a network to PostgreSQL that delays, drops, resets, half-closes or cuts connections loses nothing",
        faults=(
            "slow-database",
            "database-black-hole",
            "database-black-hole-and-reset",
            "database-reset",
            "database-half-close",
            "database-cut",
        ),
        every=1.5,
        seconds=20,
        proxied=("database",),
        late_allowed=10,
    ),
    Scenario(
        "network-redis",
        "a network to Redis that delays, drops, resets, half-closes or cuts connections loses nothing",
        faults=("slow-redis", "redis-black-hole", "redis-reset", "redis-half-close", "redis-cut"),
        every=1,
        seconds=16,
        proxied=("redis",),
    ),
    Scenario(
        "network-web",
        "a network from publishers that delays, drops, resets, half-closes or cuts connections loses nothing",
        faults=("slow-web", "web-black-hole", "web-reset", "web-half-close", "web-cut"),
        every=1,
        seconds=14,
        proxied=("web",),
    ),
    Scenario(
        "network-receiver",
        "a network to receivers that delays, drops, resets, half-closes or cuts connections loses nothing",
        faults=("slow-receiver", "receiver-black-hole", "receiver-reset", "receiver-half-close", "receiver-cut"),
        every=1,
        seconds=14,
        proxied=("receiver",),
        late_allowed=8,
        subscribers=tuple(
            Subscriber(subscriber.path, subscriber.topics, subscriber.behaviours, (1,) * 8, subscriber.in_flight)
            for subscriber in (STEADY, NARROW)
        ),
    ),
    Scenario(
        "subscriptions",
        "no callback gets an event without its proof, misses one while it is subscribed, or gets one after its end;"
        " nor one that its filter rejects, nor more than its receiver allows",
        subscribes=True,
        subscribers=(STEADY,),
        rates={"single": 4, "batch": 0.3, "stream": 2},
        settings=QUICK_SUBSCRIPTIONS,
        faults=(
            "kill-at-verification-claimed",
            "kill-worker",
            "kill-at-verification-half-concluded",
            "kill-redis",
            "kill-web",
            "kill-at-verification-concluded",
            "kill-postgres",
            "kill-child",
            "terminate-backends",
        ),
        every=2.5,
        seconds=30,
        needs_own_servers=True,
        late_allowed=10,
        stop_grace=8,
    ),
    Scenario(
        "storm",
        "faults of every kind, in an order that the seed determines, lose nothing",
        faults=(
            "kill-child",
            "kill-worker",
            "kill-web",
            "stop-worker",
            "flush-redis",
            "kill-redis",
            "terminate-backends",
            "kill-backend",
            "stall-redis-briefly",
            "stall-postgres-briefly",
            "kill-at-claimed",
            "kill-at-half-settled",
        ),
        draws=14,
        every=1.5,
        seconds=24,
        needs_own_servers=True,
        min_leased=2,
        late_allowed=10,
        # The effects of an earlier fault may still delay it.
        stop_grace=8,
    ),
)

# What `make test` runs must pass on a busy machine: it checks that nothing is lost, duplicated or early, but not how
# fast anything is.
ANY_PACE: dict[str, Any] = {"late_allowed": math.inf, "min_accepted": 0.0, "quiescent_within": 300, "stop_grace": 60}

SHORT = (
    Scenario(
        "short",
        "a short run with faults of many kinds loses nothing",
        faults=(
            "kill-child",
            "kill-at-event-stored",
            "kill-at-half-settled",
            "flush-redis",
            "kill-worker",
            "terminate-backends",
            "kill-web",
            "kill-at-sent",
            "kill-redis",
            "kill-backend",
        ),
        every=1.2,
        seconds=16,
        rates={"single": 6, "batch": 1, "stream": 4},
        needs_own_servers=True,
        min_leased=2,
        **ANY_PACE,
    ),
    Scenario(
        "short-shutdown",
        "everything stopped at once under load ends in time, and nothing is sent twice because of it",
        faults=("stop-everything",),
        seconds=6,
        subscribers=(STEADY, FLAKY, SLOW),
        **ANY_PACE,
    ),
)
