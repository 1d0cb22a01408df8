"""One scenario for each mutant in which it cannot go unnoticed, and the rules of which it must break at least one."""

from dataclasses import replace

from chaos.scenarios.scenario import SLOW, STEADY, Scenario, Subscriber
from chaos.workload.behaviour import ReceiverBehaviour

SLOWLY_FAILING = Subscriber(
    "/fails-slowly",
    topics=("push",),
    behaviours=(ReceiverBehaviour(first="slow-500"),),
    schedule=(1.5, 1.5),
    in_flight=50,
)

# Rejects what a worker sends before it is paused, and accepts what another worker sends meanwhile.
RECOVERING = Subscriber(
    "/recovering",
    topics=("push",),
    behaviours=(ReceiverBehaviour({"500": 1}, until=5), ReceiverBehaviour()),
    schedule=(1,) * 12,
)

# Its schedule ends after one retry, so deliveries fail early.
IMPATIENT = Subscriber("/impatient", schedule=(1,))
FAILING = Subscriber("/failing", topics=("push",), behaviours=(ReceiverBehaviour({"500": 1}),), schedule=(1, 15))
SLOW_AND_FAILING = Subscriber(
    "/slow-and-failing", topics=("push",), behaviours=(ReceiverBehaviour({"slow-500": 1}),), schedule=(1,), in_flight=50
)

MUTANTS: dict[str, tuple[Scenario, frozenset[int]]] = {
    "settle-without-fencing": (
        Scenario(
            "unfenced",
            "",
            bug="settle-without-fencing",
            faults=("hold-up-at-answered",),
            subscribers=(RECOVERING,),
            rates={"single": 10, "batch": 2},
            seconds=4,
            late_allowed=10,
        ),
        frozenset({4}),
    ),
    "bell-inside-the-transaction": (
        Scenario(
            "early-bell",
            "",
            bug="bell-inside-the-transaction",
            commit_delay=0.25,
            subscribers=(STEADY,),
            rates={"single": 0.6},
            seconds=12,
            workers=1,
            prompt_within=0.2,
        ),
        frozenset({7}),
    ),
    "claim-without-lease": (
        Scenario(
            "unleased",
            "",
            bug="claim-without-lease",
            # Without leases the harness cannot see what a child has in flight, so it kills any child.
            faults=("kill-child", "kill-child"),
            every=1.5,
            subscribers=(SLOW,),
            seconds=4,
            workers=1,
            quiescent_within=10,
        ),
        frozenset({6}),
    ),
    "lease-shorter-than-the-deadline": (
        Scenario(
            "short-lease", "", bug="lease-shorter-than-the-deadline", subscribers=(SLOW,), seconds=3, quiescent_within=5
        ),
        frozenset({4}),
    ),
    "accept-answering-before-commit": (
        Scenario(
            "early-answer",
            "",
            bug="accept-answering-before-commit",
            faults=("kill-web",),
            subscribers=(STEADY,),
            # A web server that was restarted must be up before it is stopped.
            seconds=6,
            workers=1,
        ),
        frozenset({1}),
    ),
    "signature-over-reserialised-json": (
        Scenario("re-signed", "", bug="signature-over-reserialised-json", subscribers=(STEADY,), seconds=3, workers=1),
        frozenset({2}),
    ),
    "retry-measured-from-the-wrong-time": (
        Scenario(
            "early-retry",
            "",
            bug="retry-measured-from-the-wrong-time",
            subscribers=(SLOWLY_FAILING,),
            seconds=3,
            workers=1,
        ),
        frozenset({5}),
    ),
    "large-bodies-never-sent": (
        Scenario("unsent", "", bug="large-bodies-never-sent", subscribers=(IMPATIENT,), seconds=3, workers=1),
        frozenset({1}),
    ),
    "results-thrown-away-when-the-database-is-away": (
        Scenario(
            "forgotten",
            "",
            bug="results-thrown-away-when-the-database-is-away",
            faults=("terminate-backends",),
            subscribers=(SLOW,),
            seconds=4,
            workers=1,
        ),
        frozenset({4}),
    ),
    "always-the-first-step": (
        Scenario("one-step", "", bug="always-the-first-step", subscribers=(FAILING,), seconds=3, workers=1),
        frozenset({5}),
    ),
    "ids-swapped": (
        Scenario("swapped", "", bug="ids-swapped", subscribers=(STEADY,), rates={"batch": 4}, seconds=3, workers=1),
        frozenset({2}),
    ),
    "stream-entries-finished-before-they-are-stored": (
        Scenario(
            "early-finish",
            "",
            bug="stream-entries-finished-before-they-are-stored",
            faults=("kill-parent",),
            subscribers=(STEADY,),
            rates={"stream": 20},
            seconds=3,
            workers=1,
        ),
        frozenset({1}),
    ),
    "a-crash-uses-up-a-step": (
        Scenario(
            "counted-crash",
            "",
            bug="a-crash-uses-up-a-step",
            # At this failpoint something is in flight for sure.
            faults=("kill-at-sent",),
            subscribers=(SLOW_AND_FAILING,),
            seconds=3,
            workers=1,
        ),
        frozenset({1}),
    ),
}

# Detected even on a slow machine: swapped ids, and a process killed at a failpoint with work in flight.
PROOF = tuple(MUTANTS[bug][0] for bug in ("ids-swapped", "a-crash-uses-up-a-step"))

# The same scenarios without the mutation: a rule broken here as well would make the mutant scenario meaningless.
CONTROLS = tuple(
    replace(scenario, name=f"{scenario.name}-control", claim=f"no rule is broken without {bug}", bug="")
    for bug, (scenario, _) in MUTANTS.items()
)
