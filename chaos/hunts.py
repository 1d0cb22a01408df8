"""Each bug on purpose, with a scenario in which it cannot hide, and the rules of which it breaks at least one."""

from chaos.plans import SLOW, STEADY, Part, Scenario
from chaos.script import Act

SLOWLY_FAILING = Part(
    "/fails-slowly", topics=("push",), acts=(Act(first="slow-500"),), schedule=(1.5, 1.5), in_flight=50
)

# Refuses what a worker sends before it is held up, and takes what another sends then.
RECOVERING = Part("/recovering", topics=("push",), acts=(Act({"500": 1}, until=5), Act()), schedule=(1,) * 12)

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
            faults=("kill-at-sent",),
            parts=(SLOW,),
            seconds=4,
            workers=1,
            rests_within=15,
        ),
        frozenset({1, 6}),
    ),
    "lease-shorter-than-the-deadline": (
        Scenario("short-lease", "", bug="lease-shorter-than-the-deadline", parts=(SLOW,), seconds=4, rests_within=15),
        frozenset({4}),
    ),
    "accept-answering-before-commit": (
        Scenario(
            "early-answer",
            "",
            bug="accept-answering-before-commit",
            faults=("kill-web",) * 2,
            parts=(STEADY,),
            seconds=6,
        ),
        frozenset({1}),
    ),
    "signature-over-reserialised-json": (
        Scenario("re-signed", "", bug="signature-over-reserialised-json", parts=(STEADY,), seconds=3),
        frozenset({2}),
    ),
    "retry-measured-from-the-wrong-time": (
        Scenario("early-retry", "", bug="retry-measured-from-the-wrong-time", parts=(SLOWLY_FAILING,), seconds=4),
        frozenset({5}),
    ),
}
