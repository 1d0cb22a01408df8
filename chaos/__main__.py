"""`python -m chaos [NAME …] [--seed N]`: runs scenarios, tells how they go, and ends each in one line of JSON."""

import argparse
import json
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

from chaos.ground import Ground, home_of_its_own
from chaos.hunts import CONTROLS, HUNTS
from chaos.plans import Scenario
from chaos.run import run
from chaos.scenarios import SCENARIOS, SHORT
from chaos.soak import MINUTES, soak
from chaos.verdict import Verdict

PICTURE = Path("docs/images/soak.svg")

GROUPS = {
    "all": SCENARIOS,
    "short": SHORT,
    "bugs": tuple(scenario for scenario, _ in HUNTS.values()),
    "controls": CONTROLS,
}
NAMED = {scenario.name: scenario for group in GROUPS.values() for scenario in group}


def tell(text: str) -> None:
    """Say how it goes, beside the lines of JSON."""
    print(text, file=sys.stderr, flush=True)


def run_all(scenarios: Iterable[Scenario], *, seed: int, keep: Path | None = None) -> list[Verdict]:
    """Run scenarios one after another, on the same servers where they leave them whole, and give the verdicts."""
    verdicts = []
    with ExitStack() as stack:
        shared: Ground | None = None
        for scenario in scenarios:
            began_at = time.monotonic()
            tell(f"{scenario.name}: {scenario.sentence or scenario.bug}")
            if scenario.needs_own_servers:
                with home_of_its_own() as home, Ground(home) as ground:
                    verdict = run(scenario, seed=seed, ground=ground, tell=tell, keep=keep)
            else:
                if shared is None:
                    shared = stack.enter_context(Ground(stack.enter_context(home_of_its_own())))
                verdict = run(scenario, seed=seed, ground=shared, tell=tell, keep=keep)
            for sentence in verdict.sentences():
                tell(sentence)
            tell(f"  {'BROKEN' if verdict.breaches else 'ok'} after {time.monotonic() - began_at:.0f} s")
            print(verdict.line(), flush=True)
            verdicts.append(verdict)
    return verdicts


def judged(scenarios: Sequence[Scenario], verdicts: Sequence[Verdict]) -> bool:
    """Tell whether all went as it should: a scenario without a breach, a bug on purpose with one of its rules."""
    meant = {scenario.name: rules for scenario, rules in HUNTS.values()}
    return all(
        meant[scenario.name] & {breach.rule for breach in verdict.breaches}
        if scenario.name in meant
        else not verdict.breaches
        for scenario, verdict in zip(scenarios, verdicts, strict=True)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        default=["all"],
        metavar="NAME",
        help=f"a scenario, {', '.join(GROUPS)}, or soak",
    )
    parser.add_argument("--seed", type=int, help="do the same again; drawn and told if not given")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the logs and the records there")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"how long `soak` lasts [{MINUTES:g}]")
    parser.add_argument("--picture", type=Path, default=PICTURE, help=f"what `soak` draws [{PICTURE}]")
    options = parser.parse_args()
    if options.list:
        for scenario in NAMED.values():
            print(f"{scenario.name:28}{scenario.sentence or scenario.bug}")
        return
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    # What it started is stopped on the way out, also when somebody stops it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tell(f"seed {seed}: `python -m chaos {' '.join(options.names)} --seed {seed}` does the same again")
    if options.names == ["soak"]:
        verdict = soak(seed=seed, minutes=options.minutes, picture=options.picture, tell=tell, keep=options.keep)
        tell("\n".join(verdict.sentences()))
        print(verdict.line(), flush=True)
        sys.exit(bool(verdict.breaches))
    if unknown := [name for name in options.names if name not in GROUPS and name not in NAMED]:
        parser.error(f"there is no {', '.join(unknown)}; --list tells what there is")
    chosen = [scenario for name in options.names for scenario in GROUPS.get(name) or (NAMED[name],)]
    verdicts = run_all(chosen, seed=seed, keep=options.keep)
    if len(verdicts) > 1:
        breaches = sum(len(verdict.breaches) for verdict in verdicts)
        tell(json.dumps({"scenarios": len(verdicts), "breaches": breaches}))
    sys.exit(not judged(chosen, verdicts))


if __name__ == "__main__":
    main()
