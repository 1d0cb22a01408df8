"""`python -m bench NAME [--json] [--seconds N]`: runs one benchmark and ends with one line of JSON."""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping

from bench import (
    bystanders,
    endtoend,
    fairness,
    fanout,
    latency,
    leased,
    light,
    memory,
    metrics,
    portal,
    scale,
    singles,
    throughput,
)
from bench.tables import tables

# Each takes the seconds to measure and a function that prints progress, and returns its figures.
BENCHES: Mapping[str, Callable[[float, Callable[[str], None]], dict[str, object]]] = {
    "bystanders": bystanders.run,
    "endtoend": endtoend.run,
    "fairness": fairness.run,
    "fanout": fanout.run,
    "latency": latency.run,
    "leased": leased.run,
    "light": light.run,
    "memory": memory.run,
    "metrics": metrics.run,
    "portal": portal.run,
    "scale": scale.run,
    "singles": singles.run,
    "throughput": throughput.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "name", choices=sorted(BENCHES), help="; ".join(f"{n}: {b.__doc__}" for n, b in BENCHES.items())
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print only the line of JSON to standard output; progress goes to standard error",
    )
    parser.add_argument("--seconds", type=float, default=10, help="seconds to measure (default: 10)")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout

    def log(text: str) -> None:
        print(text, file=out, flush=True)

    # On SIGTERM, too, unwind the stack so that the processes started here are stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures = BENCHES[options.name](options.seconds, log)
    log(tables(options.name, figures))
    print(json.dumps({"bench": options.name, **figures}), flush=True)


if __name__ == "__main__":
    main()
