"""Every scenario, in the order in which `make chaos` runs them."""

import math
from typing import Any

from chaos.bugs import CLOCK
from chaos.plans import HOPELESS, NARROW, SHAKY, SLOW, STEADY, USUAL, Part, Scenario
from chaos.script import Act
from deliveries.failpoints import FAILPOINTS

HOUR = "3600"
DOOMED = Part("/doomed", acts=(Act({"500": 1}),), schedule=(2, 1), disables=True)
WHIMSICAL = Part(
    "/whimsical",
    acts=(
        Act({"200": 1}, until=2),
        Act({"reset": 3, "200": 5, "500": 2, "slow": 1}, until=6),
        Act({"200": 30, "drip": 1}),
    ),
    schedule=(1, 1, 1, 1, 1, 1, 1, 1),
)  # fmt: skip
ALL_SHAKY = Part("/first-fails", topics=("push",), acts=(Act(first="500"),), schedule=(1, 1, 1, 1))

SCENARIOS = (
    Scenario(
        "calm",
        "with receivers of every kind and nothing in the way, nothing is lost, doubled, late or early",
        parts=(STEADY, NARROW, SHAKY, HOPELESS, WHIMSICAL, DOOMED),
        prompt_within=0.4,
        late_allowed=2,
    ),
    Scenario(
        "slow-commits",
        "the bell is rung after the COMMIT, however long that takes",
        commits_take=0.25,
        parts=(STEADY,),
        # So seldom that no event benefits from another's wake-up, and with one scheduler to find work without a
        # wake-up.
        rates={"single": 0.6},
        seconds=12,
        workers=1,
        prompt_within=0.2,
    ),
    Scenario(
        "children-killed",
        "what a worker's child had in hand is repeated, and nothing else",
        faults=("kill-child",),
        draws=6,
        every=1.5,
        seconds=10,
        parts=(*USUAL, SLOW),
        in_hand_at_least=3,
    ),
    Scenario(
        "workers-killed",
        "what a whole worker had in hand is taken over when its leases run out",
        faults=("kill-worker", "kill-parent"),
        draws=3,
        every=4,
        seconds=13,
        parts=(*USUAL, SLOW),
        in_hand_at_least=1,
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
        "a worker told to stop with work in flight ends what it began; nothing is sent twice because of it",
        faults=("stop-worker",),
        draws=3,
        every=2,
        parts=(STEADY, SHAKY, SLOW),
    ),
    Scenario(
        "shutdown",
        "everything told to stop at once under load ends in time, and nothing is sent twice because of it",
        faults=("stop-everything",),
        draws=2,
        every=4,
        parts=(STEADY, SHAKY, SLOW),
        late_allowed=12,
    ),
    Scenario(
        "failpoints-killed",
        "a process may die at every boundary of the pipeline",
        faults=(*(f"kill-at-{point}" for point in FAILPOINTS), "kill-mid-fan-out"),
        every=1.5,
        seconds=15,
        parts=(STEADY, NARROW, SHAKY),
        # At least one at each point between claiming and settling.
        in_hand_at_least=4,
    ),
    Scenario(
        "failpoints-held-up",
        "a process may be held up beyond its leases at every boundary after the claim, and then go on",
        faults=(
            "hold-up-at-fanned-out",
            "hold-up-at-claimed",
            "hold-up-at-sent",
            "hold-up-at-answered",
            "hold-up-at-half-settled",
        ),
        every=1,
        late_allowed=8,
        parts=(STEADY, ALL_SHAKY),
    ),
    Scenario(
        "redis-killed",
        "Redis killed and started again empty costs no delivery",
        faults=("kill-redis",),
        draws=2,
        every=5,
        seconds=12,
    ),
    Scenario("redis-flushed", "FLUSHALL costs no delivery", faults=("flush-redis",), draws=5, every=1.5, seconds=10),
    Scenario(
        "redis-stalled",
        "Redis that takes connections and answers nothing for 30 s delays nothing by more than a few seconds",
        faults=("stall-redis",),
        seconds=34,
    ),
    Scenario(
        "redis-stalled-at-shutdown",
        "a worker told to stop while Redis hangs does stop",
        faults=("stop-worker-while-redis-hangs",),
        draws=2,
        every=3,
        # It talks to Redis several times while it shuts down.
        stops_late=11,
    ),
    Scenario("redis-full", "Redis out of memory costs no delivery", faults=("fill-redis",), seconds=9),
    Scenario(
        "redis-absent",
        "without Redis from the start everything is delivered, and with it later, too",
        before=("lose-redis",),
        faults=("revive",),
        first_after=8,
        seconds=14,
    ),
    Scenario(
        "postgres-stopped",
        "PostgreSQL stopped at once and started again loses nothing that was acknowledged",
        faults=("stop-postgres", "kill-postgres"),
        every=5,
        seconds=14,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-backends",
        "connections terminated, and a backend killed, with which the whole cluster recovers",
        faults=("terminate-backends", "kill-backend"),
        draws=4,
        every=3,
        seconds=14,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-stalled",
        "PostgreSQL that answers nothing, for longer than the leases",
        faults=("stall-postgres-briefly", "stall-postgres"),
        every=4,
        seconds=16,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-exhausted",
        "no connection to PostgreSQL to be had",
        faults=("exhaust-connections",),
        seconds=9,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "postgres-read-only",
        "PostgreSQL that refuses every change, and a standby that answers for it",
        faults=("turn-read-only", "fail-over"),
        every=5,
        seconds=14,
        needs_own_servers=True,
        late_allowed=8,
    ),
    Scenario(
        "clocks-wrong",
        "one worker's clock an hour ahead and another's an hour behind change nothing",
        differences={"worker": {CLOCK: HOUR}, "worker-2": {CLOCK: f"-{HOUR}"}},
        faults=("kill-child",),
        draws=2,
    ),
    Scenario(
        "network-database",
        "the network between HookHub and PostgreSQL slow, black, reset, half closed, cut",
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
        "the network between HookHub and Redis slow, black, reset, half closed, cut",
        faults=("slow-redis", "redis-black-hole", "redis-reset", "redis-half-close", "redis-cut"),
        every=1,
        seconds=16,
        proxied=("redis",),
    ),
    Scenario(
        "network-web",
        "the network between publishers and HookHub slow, black, reset, half closed, cut",
        faults=("slow-web", "web-black-hole", "web-reset", "web-half-close", "web-cut"),
        every=1,
        seconds=14,
        proxied=("web",),
    ),
    Scenario(
        "network-receiver",
        "the network between HookHub and receivers slow, black, reset, half closed, cut",
        faults=("slow-receiver", "receiver-black-hole", "receiver-reset", "receiver-half-close", "receiver-cut"),
        every=1,
        seconds=14,
        proxied=("receiver",),
        late_allowed=8,
        parts=tuple(Part(part.path, part.topics, part.acts, (1,) * 8, part.in_flight) for part in (STEADY, NARROW)),
    ),
    Scenario(
        "storm",
        "all of it, in an order that the seed decides",
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
        in_hand_at_least=2,
        late_allowed=10,
        # The effects of an earlier fault may still delay it.
        stops_late=8,
    ),
)

# What `make test` runs must pass on a busy machine: it checks that nothing is lost, duplicated or early, but not how
# fast anything is.
ANY_PACE: dict[str, Any] = {"late_allowed": math.inf, "let_in_least": 0.0, "rests_within": 300, "stops_late": 60}

SHORT = (
    Scenario(
        "short",
        "a little of everything",
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
        in_hand_at_least=2,
        **ANY_PACE,
    ),
    Scenario(
        "short-shutdown",
        "everything told to stop at once under load ends in time, and nothing is sent twice because of it",
        faults=("stop-everything",),
        seconds=6,
        parts=(STEADY, SHAKY, SLOW),
        **ANY_PACE,
    ),
)
