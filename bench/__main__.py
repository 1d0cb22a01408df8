"""`python -m bench NAME [--json] [--seconds N]`: runs one bench and ends in one JSON line."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping

from bench import latency

# Each gets the number of seconds it may measure and a function that tells of its progress, and gives its figures.
BENCHES: Mapping[str, Callable[[float, Callable[[str], None]], dict[str, object]]] = {
    "latency": latency.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "name", choices=sorted(BENCHES), help="; ".join(f"{n}: {b.__doc__}" for n, b in BENCHES.items())
    )
    parser.add_argument("--json", action="store_true", help="print the JSON line only; progress goes to stderr")
    parser.add_argument("--seconds", type=float, default=10, help="how long to measure (default 10)")
    options = parser.parse_args()
    out = sys.stderr if options.json else sys.stdout

    def tell(text: str) -> None:
        print(text, file=out, flush=True)

    figures = BENCHES[options.name](options.seconds, tell)
    for name, value in figures.items():
        tell(f"{name:<20} {value}")
    print(json.dumps({"bench": options.name, **figures}), flush=True)


if __name__ == "__main__":
    main()
