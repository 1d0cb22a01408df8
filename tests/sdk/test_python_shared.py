"""One Python client in several processes, and one asynchronous client in several event loops."""

import subprocess
import sys
import time

import pytest

from hookhub.procfile import ROOT
from tests.fake_hookhub import Answer, Asked, fake_hookhub

# Each process asks for things of its own, and ends with the number of answers about the other's.
FORKED = """
import os, sys
from hookhub_client import Client

client = Client(sys.argv[1], "hh_1_secret", retries=0)
client.webhooks.get("before")
child = os.fork()
name = "parent" if child else "child"
wrong = sum(client.webhooks.get(f"{name}-{n}")["id"] != f"{name}-{n}" for n in range(30))
client.close()
if child:
    wrong += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(wrong)
"""
LOOPS = """
import asyncio, sys
from hookhub_client import AsyncClient

client = AsyncClient(sys.argv[1], "hh_1_secret", retries=0)
for n in range(3):
    asyncio.run(client.publish("push", {"n": n}))
asyncio.run(client.close())
"""


def about_itself(asked: Asked) -> Answer:
    time.sleep(0.01)
    return Answer(200, {"id": asked.path.rpartition("/")[2]})


@pytest.mark.parametrize("script", [FORKED, LOOPS], ids=["processes", "event loops"])
def test_none_uses_the_connections_of_another(script: str) -> None:
    with fake_hookhub() as fake:
        fake.otherwise = about_itself if script is FORKED else None
        done = subprocess.run(
            [sys.executable, "-c", script, fake.url],
            cwd=ROOT / "sdk" / "python" / "src",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(fake.asked) == (61 if script is FORKED else 3)
    # And each keeps its own.
    assert fake.connections == (2 if script is FORKED else 3)
