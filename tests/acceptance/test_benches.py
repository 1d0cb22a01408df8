"""The smallest form of a bench, from its start to its last line."""

import json
import os
import subprocess
import sys

import pytest

from bench.stage import ROOT

pytestmark = pytest.mark.acceptance

# Every server and process that a bench needs is in this one, and it makes its webhooks by SQL.
COMMAND = [sys.executable, "-m", "bench", "fanout", "--json", "--seconds", "1"]


def test_a_bench_ends_in_one_line_of_json_and_nothing_is_lost() -> None:
    # With servers of its own, as when somebody runs it by hand.
    environment = {**os.environ, "DATABASE_URL": "", "REDIS_URL": ""}

    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    figures = json.loads(line)
    assert (figures["bench"], figures["webhooks"], figures["lost"], figures["duplicated"]) == ("fanout", 500, 0, 0)
    assert figures["repetitions"] >= 1
