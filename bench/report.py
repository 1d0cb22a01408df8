"""`python -m bench.report [NAME …]`: runs benchmarks (default: all), and writes their figures to docs/benchmarks.md.

The figures are written between pairs of markers; the text around them is not changed.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.__main__ import BENCHES
from bench.machine import machine, versions
from bench.setup import fresh_instance
from bench.tables import table, tables
from hookhub.procfile import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
# Seconds to measure. All benchmarks together, with startup and shutdown, take about ten minutes.
SECONDS: Mapping[str, float] = {
    "bystanders": 10,
    "endtoend": 30,
    "fairness": 15,
    "fanout": 8,
    "latency": 12,
    "leased": 40,
    "light": 10,
    "memory": 5,
    "metrics": 120,
    "portal": 5,
    "scale": 5,
    "singles": 10,
    "throughput": 5,
}
# The one block that is not a benchmark.
MACHINE = "machine"


class MarkersMissing(ValueError):
    """The document has no markers for some figures."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument(
        "name", nargs="*", metavar="NAME", help=f"benchmarks to run: {', '.join(sorted(BENCHES))} (default: all)"
    )
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="the file to update")
    options = parser.parse_args()
    names = options.name or sorted(BENCHES)
    if unknown := set(names) - BENCHES.keys():
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}; choose from {', '.join(sorted(BENCHES))}")
    try:
        # Fail before minutes are spent on measuring.
        replace(options.document.read_text(), dict.fromkeys([MACHINE, *names], ""))
    except (OSError, MarkersMissing) as error:
        parser.error(str(error))
    # On SIGTERM, too, unwind the stack so that the processes started by a benchmark are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    write(options.document, names)


def write(document: Path, names: Sequence[str]) -> None:
    """Run benchmarks, and write the figures of each to the document as soon as it ends.

    When a benchmark fails, its old figures stay, the others still run, and ExceptionGroup is raised at the end.
    """
    started = time.monotonic()
    failures = []
    for name in [MACHINE, *names]:
        try:
            content = about_the_machine() if name == MACHINE else run(name)
        except Exception as error:  # noqa: BLE001 - raised again after the other benchmarks have run
            log(f"{name} failed: {error}")
            failures.append(error)
            continue
        document.write_text(replace(document.read_text(), {name: content}))
    log(f"Updated {document} after {time.monotonic() - started:.0f} s.")
    if failures:
        raise ExceptionGroup("some benchmarks failed", failures)


def run(name: str) -> str:
    """Run a benchmark, print its JSON line, and return its block."""
    seconds = SECONDS.get(name, 10)
    log(f"== {name}")
    started = time.monotonic()
    figures = BENCHES[name](seconds, log)
    log(json.dumps({"bench": name, **figures}))
    log(f"{name} took {time.monotonic() - started:.0f} s.")
    return block(name, figures, seconds=seconds, on=datetime.now(UTC))


def log(text: str) -> None:
    """Print progress."""
    print(text, flush=True)


def block(name: str, figures: Mapping[str, object], *, seconds: float, on: datetime) -> str:
    """Return the content between a benchmark's markers."""
    return f"{tables(name, figures)}\n\n`python -m bench {name} --seconds {seconds:g}`, {on:%Y-%m-%d}"


def about_the_machine() -> str:
    """Return the block about the machine and the versions."""
    with fresh_instance() as instance:
        facts = machine() | versions(instance)
    return table(["", "measured on"], [list(fact) for fact in facts.items()])


def replace(document: str, blocks: Mapping[str, str]) -> str:
    """Return the document with each block between its markers; raise MarksMissing if there are none."""
    missing = []
    for name, content in blocks.items():
        begin, end = markers(name)
        before, begun, rest = document.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            missing.append(f"{begin} … {end}")
            continue
        document = f"{before}{begin}\n{content}\n{end}{after}"
    if missing:
        raise MarkersMissing(f"add these markers where the figures belong: {', '.join(missing)}")
    return document


def markers(name: str) -> tuple[str, str]:
    """Return the markers before and after a block."""
    return f"<!-- figures of {name}: written by `make bench` -->", f"<!-- end of {name} -->"


if __name__ == "__main__":
    main()
