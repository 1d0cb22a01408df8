"""Everything that runs in production works with requirements.txt alone installed."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from hookhub.client import Client
from hookhub.embedded import servers, service
from hookhub.procfile import ROOT
from hookhub.stream_client import StreamPublisher
from testbed.processes import free_port, wait_for
from testbed.servers import temporary_home
from tests.acceptance.deployment import settings_of_a_deployment, valkey_of_a_deployment
from tests.receiver import Receiver
from tests.wheel import requirements_alone

pytestmark = pytest.mark.acceptance

# Variables to inherit; none that could make a package of this environment importable.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")

IMPORT_EVERYTHING = """
import importlib, pkgutil
import django
django.setup()
import deliveries, hookhub
for package in (deliveries, hookhub):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        # What metrics, traces and single sign-on need is optional.
        optional = ("hookhub.telemetry.", "hookhub.sso.", "hookhub.service.admin.login_records")
        if not module.name.endswith("__main__") and not module.name.startswith(optional):
            importlib.import_module(module.name)
from django.core.management import get_commands, load_command_class
ours = {name: app for name, app in get_commands().items() if app in {"hookhub", "hookhub.service", "deliveries"}}
for name, app in ours.items():
    assert load_command_class(app, name).create_parser("manage.py", name).format_help()
print(*sorted(ours))
"""


@pytest.fixture(scope="module")
def programs() -> Path:
    """Return the folder of programs of an environment with only requirements.txt installed."""
    return requirements_alone()


def started_with(settings: dict[str, str]) -> dict[str, str]:
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, **settings}


@contextmanager
def running(command: list[str], environment: dict[str, str], *, log: Path) -> Iterator[None]:
    """Run a process as a service manager does, and require that it stops cleanly."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        code = process.wait(60)
    assert code == 0, log.read_text()


def test_every_module_and_every_commands_help_loads_on_requirements_alone(programs: Path) -> None:
    settings = settings_of_a_deployment(Path("/nonexistent"), port=1, programs=programs)

    done = subprocess.run(
        [str(programs / "python"), "-c", IMPORT_EVERYTHING], cwd=ROOT, capture_output=True, text=True, check=False,
        env=started_with({**settings, "DJANGO_SETTINGS_MODULE": "hookhub.service.settings"}),
    )  # fmt: skip

    commands = {path.stem for path in ROOT.glob("[dh]*/**/management/commands/*.py")} - {"__init__"}
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == commands


def test_web_and_worker_deliver_on_requirements_alone(programs: Path, receiver: Receiver) -> None:
    with (
        temporary_home("hookhub-test-") as home,
        servers.running(home, redis=False),
        valkey_of_a_deployment(home) as valkey,
    ):
        port = free_port()
        settings = settings_of_a_deployment(
            home, port=port, programs=programs, REDIS_URL=valkey.url, HOOKHUB_ALLOWED_NETWORKS="127.0.0.0/8"
        )
        url, environment = f"http://127.0.0.1:{port}", started_with(settings)
        manage = [str(programs / "python"), str(ROOT / "manage.py")]
        subprocess.run([*manage, "migrate", "--verbosity", "0"], check=True, env=environment)
        key = subprocess.run(
            [*manage, "create_api_key", "--organization", "acme", "--create-organization", "--scope", "master"],
            check=True, env=environment, capture_output=True, text=True,
        ).stdout.strip()  # fmt: skip
        with (
            running([*manage, "run", "web"], environment, log=home / "web.log"),
            running([*manage, "run", "worker"], environment, log=home / "worker.log"),
        ):
            wait_for(lambda: service.is_ready(url), "the web server")
            with Client(url, key) as client:
                # Any program with the password can send this; the worker must survive it, or nothing would be
                # delivered.
                with Redis.from_url(valkey.url) as redis:
                    redis.lpush("hookhub", b"x", b"{}", b'{"headers": {"task": ["deliveries.drain"]}}')
                    wait_for(lambda: redis.llen("hookhub") == 0, "the worker to take what is no bell")
                created = client.webhooks.create(receiver.url("/hook"), events=["push"], format="github")
                client.publish("push", {"ref": "refs/heads/main"})
                [arrived] = receiver.wait_for(1, seconds=90)
                wait_for(lambda: client.webhooks.get(created["id"])["last_delivery_status"], "the result")
                with StreamPublisher(valkey.producer_url) as publisher:
                    publisher.publish("push", {"ref": "refs/heads/through-the-stream"})
                receiver.wait_for(2, seconds=90)
                status = client.webhooks.get(created["id"])["last_delivery_status"]
            logs = (home / "web.log").read_text() + (home / "worker.log").read_text()

    assert "NOPERM" not in logs
    assert status == "200"
    assert (arrived.method, arrived.path, arrived.headers["x-github-event"]) == ("POST", "/hook", "push")
