"""`python -m chaos [NAME …] [--seed N]`: runs scenarios, reports progress, and prints one line of JSON for each."""

import argparse
import json
import secrets
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chaos.checkers.report import Verdict
from chaos.runner import run
from chaos.scenarios.catalogue import SCENARIOS, SHORT
from chaos.scenarios.mutants import CONTROLS, MUTANTS, PROOF
from chaos.scenarios.scenario import Scenario
from chaos.soak import MINUTES, soak
from testbed.servers import Servers, temporary_home

PICTURE = Path("docs/images/soak.svg")

GROUPS = {"all": SCENARIOS, "short": SHORT, "bugs": MUTANTS, "proof": PROOF, "controls": CONTROLS}
NAMED = {scenario.name: scenario for group in GROUPS.values() for scenario in group}
# On a machine that stalls, a mutant that only shows when a fault hits the right moment may survive one run.
MUTANT_TRIES = 3


def log(text: str) -> None:
    """Print progress to standard error; standard output is for the JSON lines."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def servers_like(prepared: Path | None) -> Iterator[Servers]:
    """Run servers of their own, with the database of a prepared home if there is one."""
    with temporary_home("hookhub-chaos-", copied_from=prepared) as home, Servers(home) as servers:
        yield servers


def run_all(
    scenarios: Iterable[Scenario], *, seed: int, keep: Path | None = None, prepared: Path | None = None
) -> list[Verdict]:
    """Run scenarios one after another and return their verdicts; scenarios that leave the servers intact share them.

    A mutant scenario that does not detect its mutant is repeated with the next seed, and the miss is reported.
    """
    verdicts = []
    with ExitStack() as stack:
        shared: Servers | None = None
        for scenario in scenarios:
            if not scenario.needs_own_servers and shared is None:
                shared = stack.enter_context(servers_like(prepared))
            for attempt in range(MUTANT_TRIES if scenario.bug else 1):
                verdict = run_one(scenario, seed=seed + attempt, shared=shared, keep=keep, prepared=prepared)
                if is_expected_result(scenario, verdict):
                    break
                if scenario.bug:
                    log(f"  mutant survived seed {seed + attempt} (try {attempt + 1} of {MUTANT_TRIES})")
            print(verdict.line(), flush=True)
            verdicts.append(verdict)
    return verdicts


def run_one(
    scenario: Scenario, *, seed: int, shared: Servers | None, keep: Path | None, prepared: Path | None
) -> Verdict:
    """Run one scenario, on the shared servers unless it needs its own, and report its result."""
    began_at = time.monotonic()
    log(f"{scenario.name}: {scenario.claim or scenario.bug}")
    with ExitStack() as stack:
        if scenario.needs_own_servers or shared is None:
            servers = stack.enter_context(servers_like(prepared))
        else:
            servers = shared
        verdict = run(scenario, seed=seed, servers=servers, log=log, keep=keep)
    for line in verdict.lines():
        log(line)
    log(f"  {'FAILED' if verdict.breaches else 'ok'} after {time.monotonic() - began_at:.0f} s")
    return verdict


def is_expected_result(scenario: Scenario, verdict: Verdict) -> bool:
    """Return whether a scenario broke no rule, or a mutant broke at least one of the rules it is expected to break."""
    broken = {breach.rule for breach in verdict.breaches}
    return bool(scenario.expected_rules & broken) if scenario.bug else not broken


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument(
        "names", nargs="*", default=["all"], metavar="NAME", help=f"a scenario, a group ({', '.join(GROUPS)}), or soak"
    )
    parser.add_argument("--seed", type=int, help="seed of the run, to repeat it (default: random, printed)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="folder in which to keep the logs and the history")
    parser.add_argument(
        "--prepared", type=Path, metavar="FOLDER", help="a home with a database, of which all servers get a copy"
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument(
        "--minutes", type=float, default=MINUTES, help=f"minutes that `soak` runs (default: {MINUTES:g})"
    )
    parser.add_argument(
        "--picture", type=Path, default=PICTURE, help=f"file for the chart of `soak` (default: {PICTURE})"
    )
    options = parser.parse_args()
    if options.list:
        for scenario in NAMED.values():
            print(f"{scenario.name:28}{scenario.claim or scenario.bug}")
        return
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    # On SIGTERM, too, unwind the stack so that the processes started here are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    log(f"seed {seed}; repeat with `python -m chaos {' '.join(options.names)} --seed {seed}`")
    if options.names == ["soak"]:
        verdict = soak(seed=seed, minutes=options.minutes, picture=options.picture, log=log, keep=options.keep)
        log("\n".join(verdict.lines()))
        print(verdict.line(), flush=True)
        sys.exit(bool(verdict.breaches))
    if unknown := [name for name in options.names if name not in GROUPS and name not in NAMED]:
        parser.error(f"unknown scenario: {', '.join(unknown)} (see --list)")
    chosen = [scenario for name in options.names for scenario in GROUPS.get(name) or (NAMED[name],)]
    verdicts = run_all(chosen, seed=seed, keep=options.keep, prepared=options.prepared)
    if len(verdicts) > 1:
        breaches = sum(len(verdict.breaches) for verdict in verdicts)
        log(json.dumps({"scenarios": len(verdicts), "breaches": breaches}))
    sys.exit(not all(is_expected_result(*pair) for pair in zip(chosen, verdicts, strict=True)))


if __name__ == "__main__":
    main()
