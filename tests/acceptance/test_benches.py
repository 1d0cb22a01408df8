"""The shortest run of a benchmark, from startup to its last line."""

import json
import os
import subprocess
import sys

import pytest

from hookhub.procfile import ROOT

pytestmark = pytest.mark.acceptance

# This benchmark starts every server and process that the others need, and creates its webhooks with SQL.
COMMAND = [sys.executable, "-m", "bench", "fanout", "--json", "--seconds", "1"]


def test_a_bench_ends_in_one_line_of_json_and_nothing_is_lost() -> None:
    # With its own servers, as when run by hand.
    environment = {**os.environ, "DATABASE_URL": "", "REDIS_URL": ""}

    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180, check=False)

    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    figures = json.loads(line)
    assert (figures["bench"], figures["webhooks"], figures["lost"], figures["duplicated"]) == ("fanout", 500, 0, 0)
    assert figures["repetitions"] >= 1
