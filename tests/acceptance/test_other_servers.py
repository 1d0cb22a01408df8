"""uvicorn and gunicorn run HookHub with the commands that the documentation prints, alone and behind nginx."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from hookhub.client import Client, HookHubError
from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.instance import Instance
from testbed.processes import free_port, wait_for
from tests import debian
from tests.acceptance.instances import as_new, idle_instance
from tests.certificates import Identity
from tests.printed import blocks_below
from tests.receiver import Receiver

pytestmark = pytest.mark.acceptance

COMMANDS = {block.split()[0]: block for block in blocks_below("docs/deployment.md", "## Other web servers")}


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    with idle_instance() as running:
        yield running


@contextmanager
def served_by(instance: Instance, command: str, *, folder: Path, **settings: str) -> Iterator[str]:
    """Run a printed command on another port, and require that it stops cleanly; yield its URL."""
    port = free_port()
    log = folder / "server.log"
    environment = {
        **instance.environment,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(port),
        **settings,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"exec {command.replace('8000', str(port))}"],
            cwd=ROOT, env=environment, stdout=output, stderr=output,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: service.is_ready(url), "the other server")
        yield url
    finally:
        process.terminate()
        code = process.wait(60)
    assert code == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def test_the_documentation_prints_a_command_for_each() -> None:
    assert COMMANDS.keys() == {"uvicorn", "gunicorn"}


@pytest.mark.parametrize("name", ["uvicorn", "gunicorn"])
def test_another_server_publishes_manages_and_refuses(
    shared: Instance, receiver: Receiver, tmp_path: Path, name: str
) -> None:
    instance = as_new(shared)
    with served_by(instance, COMMANDS[name], folder=tmp_path) as url, Client(url, instance.key) as client:
        client.webhooks.create(receiver.url("/all"), events=["*"])
        for number in range(20):
            client.publish("push", {"n": number}, id=f"event-{number}")
        client.publish("push", {"n": 0}, id="event-0")
        wait_for(lambda: instance.states() == {"delivered": 20}, "every delivery")

        with pytest.raises(HookHubError) as refused:
            client.publish("push", {"text": "x" * (1 << 20)})
        assert refused.value.status == 413
        with requests.Session() as session:
            session.trust_env = False
            # Without a key, and chunked.
            assert session.post(f"{url}/v1/events", data=iter([b"{}"]), timeout=30).status_code == 401
            assert session.get(f"{url}/admin/login/", timeout=30).status_code == 200
            assert session.get(f"{url}/static/admin/css/base.css", timeout=30).status_code == 200


def test_behind_the_printed_nginx_the_clients_address_is_the_proxys_word(shared: Instance, tmp_path: Path) -> None:
    nginx = debian.require("nginx", package="nginx-light")
    instance = as_new(shared, worker=False)
    tls, plain = free_port(), free_port()
    authority = Identity.make(tmp_path / "ca.pem", "an authority")
    certificate = Identity.make(tmp_path / "pem", "proxy", issuer=authority, address="127.0.0.1").path
    settings = {
        "HOOKHUB_BEHIND_TLS_PROXY": "1",
        "HOOKHUB_PUBLIC_URL": f"https://127.0.0.1:{tls}",
        "HOOKHUB_TRUSTED_ORIGINS": f"https://127.0.0.1:{tls}",
        "HOOKHUB_ACCESS_LOG": "1",
    }
    with served_by(instance, COMMANDS["uvicorn"], folder=tmp_path, **settings) as url:
        site = (ROOT / "deploy" / "nginx-site.conf").read_text()
        for name in ("fullchain.pem", "privkey.pem"):
            site = site.replace(f"/etc/letsencrypt/live/hooks.example.org/{name}", str(certificate))
        changes = {
            "/var/log/nginx/": f"{tmp_path}/",
            "listen [::]": "# listen [::]",
            "listen 443": f"listen 127.0.0.1:{tls}",
            "listen 80": f"listen 127.0.0.1:{plain}",
            "127.0.0.1:8000": url.removeprefix("http://"),
        }
        for old, new in changes.items():
            site = site.replace(old, new)
        folders = " ".join(
            f"{kind}_temp_path {tmp_path}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        main = f"pid {tmp_path}/nginx.pid; daemon off; user root; events {{}} http {{ {folders} {site} }}"
        (tmp_path / "nginx.conf").write_text(main)
        command = [nginx, "-e", str(tmp_path / "errors.log"), "-c", str(tmp_path / "nginx.conf")]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            with requests.Session() as session:
                session.trust_env, session.verify = False, str(authority.path)
                address = f"https://127.0.0.1:{tls}"
                wait_for(lambda: is_reached(session, address), "nginx")
                spoofed = {"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil"}
                login = session.get(f"{address}/admin/login/", headers=spoofed, timeout=30)
                assert login.status_code == 200
                assert login.cookies.keys() == ["__Host-csrftoken"]
                sent = session.post(
                    f"{address}/v1/events",
                    json={"type": "push", "data": {}},
                    headers={"Authorization": f"Bearer {instance.key}", **spoofed},
                    timeout=30,
                )
                assert sent.status_code == 202
        finally:
            process.terminate()
            process.wait(30)
    assert "192.0.2.1" not in (tmp_path / "server.log").read_text()


def is_reached(session: requests.Session, address: str) -> bool:
    try:
        return session.get(f"{address}/healthz", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False
