"""One scenario for each mutant in which it cannot go unnoticed, and the rules of which it must break at least one."""

from dataclasses import replace

from chaos.scenarios.scenario import QUICK_SUBSCRIPTIONS, SLOW, STEADY, Scenario, Subscriber
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

MUTANTS = (
    Scenario(
        "unfenced",
        bug="settle-without-fencing",
        expected_rules={4},
        faults=("hold-up-at-answered",),
        subscribers=(RECOVERING,),
        rates={"single": 10, "batch": 2},
        seconds=4,
        late_allowed=10,
    ),
    Scenario(
        "early-bell",
        bug="bell-inside-the-transaction",
        expected_rules={7},
        commit_delay=0.25,
        subscribers=(STEADY,),
        rates={"single": 0.6},
        seconds=12,
        workers=1,
        prompt_within=0.2,
    ),
    Scenario(
        "unleased",
        bug="claim-without-lease",
        expected_rules={6},
        # Without leases the harness cannot see what a child has in flight, so it kills any child.
        faults=("kill-child", "kill-child"),
        every=1.5,
        subscribers=(SLOW,),
        seconds=4,
        workers=1,
        quiescent_within=10,
    ),
    Scenario(
        "short-lease",
        bug="lease-shorter-than-the-deadline",
        expected_rules={4},
        subscribers=(SLOW,),
        seconds=3,
        quiescent_within=5,
    ),
    Scenario(
        "early-answer",
        bug="accept-answering-before-commit",
        expected_rules={1},
        faults=("kill-web",),
        subscribers=(STEADY,),
        # A web server that was restarted must be up before it is stopped.
        seconds=6,
        workers=1,
    ),
    Scenario(
        "re-signed",
        bug="signature-over-reserialised-json",
        expected_rules={2},
        subscribers=(STEADY,),
        seconds=3,
        workers=1,
    ),
    Scenario(
        "early-retry",
        bug="retry-measured-from-the-wrong-time",
        expected_rules={5},
        subscribers=(SLOWLY_FAILING,),
        seconds=3,
        workers=1,
    ),
    Scenario(
        "unsent", bug="large-bodies-never-sent", expected_rules={1}, subscribers=(IMPATIENT,), seconds=3, workers=1
    ),
    Scenario(
        "forgotten",
        bug="results-thrown-away-when-the-database-is-away",
        expected_rules={4},
        faults=("terminate-backends",),
        subscribers=(SLOW,),
        seconds=4,
        workers=1,
    ),
    Scenario("one-step", bug="always-the-first-step", expected_rules={5}, subscribers=(FAILING,), seconds=3, workers=1),
    Scenario(
        "swapped",
        bug="ids-swapped",
        expected_rules={2},
        subscribers=(STEADY,),
        rates={"batch": 4},
        seconds=3,
        workers=1,
    ),
    Scenario(
        "early-finish",
        bug="stream-entries-finished-before-they-are-stored",
        expected_rules={1},
        faults=("kill-parent",),
        subscribers=(STEADY,),
        rates={"stream": 20},
        seconds=3,
        workers=1,
    ),
    Scenario(
        "counted-crash",
        bug="a-crash-uses-up-a-step",
        expected_rules={1},
        # At this failpoint something is in flight for sure.
        faults=("kill-at-sent",),
        subscribers=(SLOW_AND_FAILING,),
        seconds=3,
        workers=1,
    ),
    *(
        Scenario(
            name,
            bug=bug,
            expected_rules={8},
            subscribes=True,
            subscribers=(STEADY,),
            rates={"single": 4},
            settings=QUICK_SUBSCRIPTIONS,
            seconds=20,
            workers=1,
        )
        for name, bug in (
            ("endless", "leases-that-never-end"),
            ("unproved", "proofs-that-are-not-awaited"),
            ("any-echo", "echoes-that-are-not-compared"),
            ("unfiltered", "filters-that-are-ignored"),
            ("unpaced", "requests-that-are-not-counted"),
        )
    ),
)

# Detected even on a slow machine: swapped ids, and a process killed at a failpoint with work in flight.
PROOF = tuple(scenario for scenario in MUTANTS if scenario.bug in {"ids-swapped", "a-crash-uses-up-a-step"})

# The same scenarios without the mutation: a rule broken here as well would make the mutant scenario meaningless.
CONTROLS = tuple(
    replace(
        mutant,
        name=f"{mutant.name}-control",
        claim=f"no rule is broken without {mutant.bug}",
        bug="",
        expected_rules=frozenset(),
    )
    for mutant in MUTANTS
)
