"""`up`, `demo` and the settings of a deployment, as a new user meets them."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import requests

from hookhub.embedded import servers, service
from hookhub.procfile import ROOT
from testbed.processes import free_port, hangups, wait_for
from testbed.servers import PREPARED, temporary_home
from tests.acceptance.deployment import settings_of_a_deployment
from tests.acceptance.instances import check_ledger
from tests.prepared import prepared_home

pytestmark = pytest.mark.acceptance

MANAGE = [sys.executable, str(ROOT / "manage.py")]


def settings_for(home: Path, **more: str) -> dict[str, str]:
    # One process of the web server is enough for what these tests ask, and each takes a second to start.
    return {"HOOKHUB_HOME": str(home), "DATABASE_URL": "", "REDIS_URL": "", "WEB_WORKERS": "1", **more}


def first_key(log: Path) -> str:
    """Return the API key that the first `up` prints."""
    wait_for(lambda: "API key" in log.read_text(), "the first key")
    found = re.search(r"API key\s+(hh_\S+)", log.read_text())
    assert found is not None
    return found[1]


def servers_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and Path(words[0]).name.rstrip(":") in {"postgres", "valkey-server"} and str(home) in " ".join(words):
            found.append(process)
    return found


@contextmanager
def home_without_leftovers() -> Iterator[Path]:
    """Provide a home for a test, and end all that still runs in it, which a test that fails has not stopped."""
    with temporary_home("hookhub-test-") as home:
        try:
            yield home
        finally:
            left = [*started_in(home), *servers_of(home)]
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, timeout=30)


def started_in(home: Path) -> list[psutil.Process]:
    """Return the processes that were started with this home in their environment, and their children."""
    found = psutil.process_iter(["environ"])
    return [process for process in found if (process.info["environ"] or {}).get("HOOKHUB_HOME") == str(home)]


def test_what_a_test_that_fails_has_started_is_ended() -> None:
    running: list[subprocess.Popen[bytes]] = []
    children: list[psutil.Process] = []

    def fail() -> None:
        with home_without_leftovers() as home:
            command = ["sh", "-c", "sleep 600 & sleep 600 & wait"]
            running.append(subprocess.Popen(command, env={**os.environ, **settings_for(home)}, start_new_session=True))
            parent = psutil.Process(running[0].pid)
            wait_for(lambda: len(parent.children()) == 2, "its children")
            children.extend(parent.children())
            raise KeyError

    with pytest.raises(KeyError):
        fail()

    running[0].wait(30)
    assert psutil.wait_procs(children, timeout=30)[1] == []


SUMMARY = (
    "demo: 8 of 8 events delivered to every webhook that answers, 40 signatures verified, "
    "8 retries scheduled for the one that hangs"
)


def log_in_as_printed(lines: list[str]) -> str:
    """Log in with the login that the demo prints, and return the page at the address that it prints."""
    printed = "\n".join(lines)
    found = re.search(r"Look at its deliveries while it runs: (\S+)\n *login (\S+) / (\S+)", printed)
    assert found is not None, printed
    address, name, password = found.groups()
    with requests.Session() as browser:
        form = browser.get(address, timeout=60)
        fields = {"username": name, "password": password, "csrfmiddlewaretoken": browser.cookies["csrftoken"]}
        answer = browser.post(form.url, data=fields, headers={"Referer": form.url}, timeout=60)
    assert answer.url == address
    return answer.text


def test_the_demo_ends_well_and_leaves_the_first_login_and_key_to_up_which_finds_its_data_after_a_crash() -> None:
    # Alone in this module it starts with nothing at all, so it makes the database and its tables.
    with home_without_leftovers() as home:
        environment = {**os.environ, **settings_for(home)}
        demo = subprocess.Popen(
            [*MANAGE, "demo", "--keep"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        assert demo.stdout is not None
        lines = []
        for line in demo.stdout:
            lines.append(line.strip())
            if line.startswith("Still running at "):
                break
        shown = log_in_as_printed(lines)
        demo.send_signal(signal.SIGINT)
        lines += [line.strip() for line in demo.stdout]
        assert demo.wait(60) == 0, lines
        demo.stdout.close()

        assert SUMMARY in lines
        assert shown.count(">Delivered<") >= 16
        assert servers_of(home) == []
        up_finds_its_data_again_and_a_crash_blocks_nothing(home)


def up_finds_its_data_again_and_a_crash_blocks_nothing(home: Path) -> None:
    """Start it three times after the demo: it ends by Ctrl-C, by a crash, and by being told to stop."""
    process, url = start_up(home)
    check_ledger(servers.database_url(home))
    log = home / "up.log"
    header = {"Authorization": f"Bearer {first_key(log)}"}
    assert re.search(r"login +admin / \S+", log.read_text())
    assert requests.get(f"{url}/v1/webhooks", headers=header, timeout=60).json()["results"] == []
    wanted = {"url": "http://127.0.0.1:9999/", "events": ["*"]}
    created = requests.post(f"{url}/v1/webhooks", json=wanted, headers=header, timeout=60).json()
    # Like Ctrl-C in a terminal: every process of the foreground group gets it at the same time.
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0, log.read_text()
    assert servers_of(home) == []

    # A second start: the same key, the same webhook, and no "first steps" again. Then everything is killed at once.
    process, url = start_up(home)
    listed = requests.get(f"{url}/v1/webhooks", headers=header, timeout=60).json()["results"]
    assert "API key" not in log.read_text()
    # What the kernel kills for want of memory is started again.
    for server in servers_of(home):
        server.kill()
    wait_for(lambda: log.read_text().count(" had died and was started again.") == 2, "both servers")
    wait_for(lambda: service.is_ready(url), "the service")
    assert len(requests.get(f"{url}/v1/webhooks", headers=header, timeout=60).json()["results"]) == 1
    family = [*psutil.Process(process.pid).children(recursive=True), *servers_of(home)]
    process.kill()
    process.wait()
    for one in family:
        one.kill()
    psutil.wait_procs(family, timeout=30)

    with service.running(port=free_port(), log=log, environment=settings_for(home)) as url:
        again = requests.get(f"{url}/v1/webhooks", headers=header, timeout=60).json()["results"]
    assert [row["id"] for row in listed] == [created["id"]] == [row["id"] for row in again]
    assert "API key" not in log.read_text()
    assert servers_of(home) == []
    it_ends_when_its_output_has_no_reader(home)
    it_ends_with_its_terminal(home)


def it_ends_when_its_output_has_no_reader(home: Path) -> None:
    process = subprocess.Popen(
        [*MANAGE, "up", "--port", str(free_port())], env={**os.environ, **settings_for(home)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()

    process.wait(90)
    assert process.stderr.read() == ""
    process.stderr.close()
    assert (servers_of(home), started_in(home)) == ([], [])


def it_ends_with_its_terminal(home: Path) -> None:
    process, _ = start_up(home)
    os.killpg(process.pid, signal.SIGHUP)

    assert process.wait(60) == 0, (home / "up.log").read_text()
    assert (servers_of(home), started_in(home)) == ([], [])


def start_up(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    with (home / "up.log").open("wb") as log, hangups(signal.SIG_DFL):
        process = subprocess.Popen(
            [*MANAGE, "up", "--port", str(port)],
            env={**os.environ, **settings_for(home)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_for(lambda: service.is_ready(f"http://127.0.0.1:{port}"), "up")
    return process, f"http://127.0.0.1:{port}"


def test_a_port_that_is_taken_is_told_by_name_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        done = subprocess.run(
            [*MANAGE, "up", "--port", str(port)], capture_output=True, text=True,
            env={**os.environ, **settings_for(tmp_path)}, check=False,
        )  # fmt: skip

    assert (done.returncode, done.stdout, f"Port {port} is in use" in done.stderr) == (1, "", True)
    assert servers_of(tmp_path) == []


def test_the_procfile_runs_on_a_database_and_a_redis_of_ones_own() -> None:
    # tests/acceptance/test_production_install.py makes the tables and the key with such settings.
    with prepared_home("hookhub-test-", with_key=True) as home, servers.running(home):
        port, key = free_port(), (home / PREPARED).read_text()
        environment = {**os.environ, **settings_of_a_deployment(home, port=port)}
        honcho = subprocess.Popen(["honcho", "start"], cwd=ROOT, env=environment, start_new_session=True)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: service.is_ready(url), "the Procfile's web")
            wanted = {"url": "http://127.0.0.1:9999/", "events": ["*"]}
            refused = requests.post(
                f"{url}/v1/webhooks", json=wanted, headers={"Authorization": f"Bearer {key}"}, timeout=60
            )
        finally:
            honcho.terminate()
            honcho.wait(60)

        # A deployment is not in development mode, so URLs on this machine are rejected.
        assert refused.status_code == 422
        assert "HOOKHUB_ALLOWED_NETWORKS" in refused.json()["error"]["fields"][0]["message"]


KEYS = {"HOOKHUB_SECRET_KEY": "x", "HOOKHUB_ENCRYPTION_KEYS": "bXktdGhpcnR5LXR3by1ieXRlLWxvbmcta2V5LTEyMzQ="}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "HOOKHUB_SECRET_KEY is not set"),
        ({"HOOKHUB_SECRET_KEY": "x"}, "HOOKHUB_ENCRYPTION_KEYS is not set"),
        (KEYS | {"HOOKHUB_ENCRYPTION_KEYS": "secret"}, "HOOKHUB_ENCRYPTION_KEYS contains an invalid key"),
        (KEYS | {"HOOKHUB_SLOTS": "many"}, "HOOKHUB_SLOTS='many' is invalid: expected an integer"),
        (KEYS | {"HOOKHUB_TIMEOUT": "90"}, "HOOKHUB_TIMEOUT"),
        (KEYS | {"HOOKHUB_LEASE": "16"}, "HOOKHUB_LEASE"),
        (KEYS | {"HOOKHUB_ALLOWED_NETWORKS": "10.0.0.1/8"}, "HOOKHUB_ALLOWED_NETWORKS"),
        (KEYS | {"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        (KEYS | {"HOOKHUB_DIRECT_DATABASE_URL": "x"}, "HOOKHUB_DIRECT_DATABASE_URL is not a PostgreSQL URI"),
        (KEYS | {"REDIS_URL": "redis.internal:6379"}, "REDIS_URL is not the URL of a Redis"),
        (KEYS | {"REDIS_URL": "redis://:pass/word@one"}, "REDIS_URL is not the URL of a Redis"),
        (KEYS | {"PORT": "99999"}, "PORT='99999' is invalid: expected an integer (must be at most 65535)"),
        (KEYS | {"HOOKHUB_WORKER_PROCESSES": str(10**20)}, "HOOKHUB_WORKER_PROCESSES='1000"),
        (KEYS | {"WEB_WORKERS": "-2"}, "WEB_WORKERS='-2'"),
        (KEYS | {"HOOKHUB_STATEMENT_TIMEOUT_MS": str(10**11)}, "HOOKHUB_STATEMENT_TIMEOUT_MS="),
        (KEYS | {"HOOKHUB_ALLOWED_HOSTS": "-1"}, "HOOKHUB_ALLOWED_HOSTS='-1' is invalid"),
        (KEYS | {"SENTRY_DSN": "https://sentry.example.org/1"}, "SENTRY_DSN is not a DSN of Sentry"),
        (KEYS | {"HOOKHUB_OIDC_ISSUER": "login.example.org"}, "HOOKHUB_OIDC_ISSUER='login.example.org' is invalid"),
        (KEYS | {"HOOKHUB_CA_BUNDLE": "/nowhere"}, "HOOKHUB_CA_BUNDLE='/nowhere' is invalid"),
    ],
)
def test_a_setting_that_is_missing_or_wrong_is_named_at_once(given: dict[str, str], named: str) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "HOOKHUB_DEVELOPMENT": "0",
        **given,
    }

    done = subprocess.run(
        [sys.executable, "-c", "import hookhub.service.settings"], cwd=ROOT, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 1
    assert named in re.sub(r"\s+", " ", done.stderr.splitlines()[-1])
