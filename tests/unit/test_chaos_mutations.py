"""Every mutation of the harness finds what it replaces; whether the checker notices is for `make chaos-mutants`."""

import subprocess
import sys

from hookhub.procfile import ROOT

# Each in a process of its own, which ends with the code that it has broken.
APPLY_EACH = """
import os
import django
django.setup()
from chaos.mutations.patches import MUTATIONS
for name, build_in in MUTATIONS.items():
    if os.fork() == 0:
        build_in()
        os._exit(0)
    print(name, os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_every_mutation_replaces_something_that_exists() -> None:
    done = subprocess.run([sys.executable, "-c", APPLY_EACH], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    results = dict(line.rsplit(" ", 1) for line in done.stdout.splitlines())
    assert len(results) >= 13
    assert set(results.values()) == {"0"}
