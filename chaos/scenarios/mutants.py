"""One scenario for each mutant in which it cannot go unnoticed, and the rules of which it must break at least one."""

from dataclasses import replace

from chaos.scenarios.scenario import SLOW, STEADY, Part, Scenario
from chaos.workload.behaviour import Act

SLOWLY_FAILING = Part(
    "/fails-slowly", topics=("push",), acts=(Act(first="slow-500"),), schedule=(1.5, 1.5), in_flight=50
)

# Rejects what a worker sends before it is paused, and accepts what another worker sends meanwhile.
RECOVERING = Part("/recovering", topics=("push",), acts=(Act({"500": 1}, until=5), Act()), schedule=(1,) * 12)

# Its schedule ends after one retry, so deliveries fail early.
IMPATIENT = Part("/impatient", schedule=(1,))
FAILING = Part("/failing", topics=("push",), acts=(Act({"500": 1}),), schedule=(1, 15))
SLOW_AND_FAILING = Part(
    "/slow-and-failing", topics=("push",), acts=(Act({"slow-500": 1}),), schedule=(1,), in_flight=50
)

HUNTS: dict[str, tuple[Scenario, frozenset[int]]] = {
    "settle-without-fencing": (
        Scenario(
            "unfenced",
            "",
            bug="settle-without-fencing",
            faults=("hold-up-at-answered",),
            parts=(RECOVERING,),
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
            commits_take=0.25,
            parts=(STEADY,),
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
            parts=(SLOW,),
            seconds=4,
            workers=1,
            rests_within=10,
        ),
        frozenset({6}),
    ),
    "lease-shorter-than-the-deadline": (
        Scenario("short-lease", "", bug="lease-shorter-than-the-deadline", parts=(SLOW,), seconds=3, rests_within=5),
        frozenset({4}),
    ),
    "accept-answering-before-commit": (
        Scenario(
            "early-answer",
            "",
            bug="accept-answering-before-commit",
            faults=("kill-web",),
            parts=(STEADY,),
            # A web server that was restarted must be up before it is stopped.
            seconds=6,
            workers=1,
        ),
        frozenset({1}),
    ),
    "signature-over-reserialised-json": (
        Scenario("re-signed", "", bug="signature-over-reserialised-json", parts=(STEADY,), seconds=3, workers=1),
        frozenset({2}),
    ),
    "retry-measured-from-the-wrong-time": (
        Scenario(
            "early-retry", "", bug="retry-measured-from-the-wrong-time", parts=(SLOWLY_FAILING,), seconds=3, workers=1
        ),
        frozenset({5}),
    ),
    "large-bodies-never-sent": (
        Scenario("unsent", "", bug="large-bodies-never-sent", parts=(IMPATIENT,), seconds=3, workers=1),
        frozenset({1}),
    ),
    "results-thrown-away-when-the-database-is-away": (
        Scenario(
            "forgotten",
            "",
            bug="results-thrown-away-when-the-database-is-away",
            faults=("terminate-backends",),
            parts=(SLOW,),
            seconds=4,
            workers=1,
        ),
        frozenset({4}),
    ),
    "always-the-first-step": (
        Scenario("one-step", "", bug="always-the-first-step", parts=(FAILING,), seconds=3, workers=1),
        frozenset({5}),
    ),
    "ids-swapped": (
        Scenario("swapped", "", bug="ids-swapped", parts=(STEADY,), rates={"batch": 4}, seconds=3, workers=1),
        frozenset({2}),
    ),
    "stream-entries-finished-before-they-are-stored": (
        Scenario(
            "early-finish",
            "",
            bug="stream-entries-finished-before-they-are-stored",
            faults=("kill-parent",),
            parts=(STEADY,),
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
            parts=(SLOW_AND_FAILING,),
            seconds=3,
            workers=1,
        ),
        frozenset({1}),
    ),
}

# Detected even on a slow machine: swapped ids, and a process killed at a failpoint with work in flight.
PROOF = tuple(HUNTS[bug][0] for bug in ("ids-swapped", "a-crash-uses-up-a-step"))

# The same scenarios without the mutation: a rule broken here as well would make the mutant scenario meaningless.
CONTROLS = tuple(
    replace(scenario, name=f"{scenario.name}-control", sentence=f"no rule is broken without {bug}", bug="")
    for bug, (scenario, _) in HUNTS.items()
)
