"""Fuzz a separate HookHub by its OpenAPI document: `python -m tests.fuzzing [--seed N] [--examples N] [OPTIONS]`.

Runs Schemathesis with all its checks in all its phases, and exits with 1 if it finds anything that is not an accepted
exception.
"""

import argparse
import os
import random
import subprocess
import sys
from pathlib import Path

from hookhub.procfile import ROOT
from tests.fuzzing import ground

CONFIG = Path(__file__).parent / "schemathesis.toml"
EXAMPLES = 40


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzzing", description="Fuzz HookHub by its OpenAPI document."
    )
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="repeats a run; random if absent")
    parser.add_argument("--examples", type=int, default=EXAMPLES, help=f"per operation and phase; {EXAMPLES} if absent")
    chosen, more = parser.parse_known_args()
    print(
        f"Fuzzing with --seed {chosen.seed} --examples {chosen.examples}: starting a HookHub of its own …", flush=True
    )
    with ground.running() as running:
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG),
                "run", f"{running.url}/v1/openapi.json", "--checks", "all",
                "--seed", str(chosen.seed), "--max-examples", str(chosen.examples), *more,
            ],
            cwd=ROOT, env={**os.environ, **running.environment}, check=False,
        )  # fmt: skip
        # If the key had been revoked during the run, every later response would have been a well-documented 401.
        if not running.is_whole():
            print("The run has spoilt what it stands on; see tests/fuzzing/hooks.py.", flush=True)
            return 1
    print(f"To repeat this run: make fuzz SEED={chosen.seed} EXAMPLES={chosen.examples}", flush=True)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
