"""`python -m bench.report [NAME …]`: runs every bench, or those named, and puts the figures into docs/benchmarks.md.

The figures stand between pairs of marks; what people wrote around them stays as it is.
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
from bench.stage import ROOT, stage
from bench.tables import table, tables

DOCUMENT = ROOT / "docs" / "benchmarks.md"
# How long each may measure, so that all of them together, with their starts and stops, take five to six minutes.
SECONDS: Mapping[str, float] = {
    "endtoend": 10,
    "fairness": 12,
    "fanout": 8,
    "latency": 8,
    "memory": 5,
    "scale": 5,
    "throughput": 5,
}
# The one block that is no bench.
MACHINE = "machine"


class MarksMissing(ValueError):
    """The document has no place for some figures."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("name", nargs="*", metavar="NAME", help=f"of {', '.join(sorted(BENCHES))} (default: all)")
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="the file to put the figures into")
    options = parser.parse_args()
    names = options.name or sorted(BENCHES)
    if strange := set(names) - BENCHES.keys():
        parser.error(f"there is no bench {', '.join(sorted(strange))}; there are {', '.join(sorted(BENCHES))}")
    try:
        # Before minutes are spent on it.
        replace(options.document.read_text(), dict.fromkeys([MACHINE, *names], ""))
    except (OSError, MarksMissing) as error:
        parser.error(str(error))
    # What a bench started is stopped on the way out, also when somebody stops the report.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    write(options.document, names)


def write(document: Path, names: Sequence[str]) -> None:
    """Run these benches, and put the figures of each into the document as soon as they are there.

    A bench that fails keeps its old figures and does not keep the others from being run; raises ExceptionGroup then.
    """
    started = time.monotonic()
    failures = []
    for name in [MACHINE, *names]:
        try:
            content = about_the_machine() if name == MACHINE else run(name)
        except Exception as error:  # noqa: BLE001 - raised again when all the others have had their turn
            say(f"{name} failed: {error}")
            failures.append(error)
            continue
        document.write_text(replace(document.read_text(), {name: content}))
    say(f"{document} has all that there is after {time.monotonic() - started:.0f} s.")
    if failures:
        raise ExceptionGroup("not all of the benches could be run", failures)


def run(name: str) -> str:
    """Run a bench, print its JSON line, and give its block."""
    seconds = SECONDS.get(name, 10)
    say(f"== {name}")
    started = time.monotonic()
    figures = BENCHES[name](seconds, say)
    say(json.dumps({"bench": name, **figures}))
    say(f"{name} took {time.monotonic() - started:.0f} s.")
    return block(name, figures, seconds=seconds, on=datetime.now(UTC))


def say(text: str) -> None:
    """Tell of the progress, while it happens."""
    print(text, flush=True)


def block(name: str, figures: Mapping[str, object], *, seconds: float, on: datetime) -> str:
    """Give what stands between a bench's marks."""
    return f"{tables(name, figures)}\n\n`python -m bench {name} --seconds {seconds:g}`, {on:%Y-%m-%d}"


def about_the_machine() -> str:
    """Give the block about the machine and the versions."""
    with stage() as bench:
        facts = machine() | versions(bench)
    return table(["", "measured on"], [list(fact) for fact in facts.items()])


def replace(document: str, blocks: Mapping[str, str]) -> str:
    """Give the document with each block between the marks of its name, and else as it was; raises MarksMissing."""
    missing = []
    for name, content in blocks.items():
        begin, end = marks(name)
        before, begun, rest = document.partition(begin)
        _, ended, after = rest.partition(end)
        if not begun or not ended:
            missing.append(f"{begin} … {end}")
            continue
        document = f"{before}{begin}\n{content}\n{end}{after}"
    if missing:
        raise MarksMissing(f"put these marks where the figures are to stand: {', '.join(missing)}")
    return document


def marks(name: str) -> tuple[str, str]:
    """Give the lines between which a block stands."""
    return f"<!-- figures of {name}: written by `make bench` -->", f"<!-- end of {name} -->"


if __name__ == "__main__":
    main()
