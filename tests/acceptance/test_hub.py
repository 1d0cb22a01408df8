"""The command line that SocialGateway's documentation prints for its hub, run by curl against the real web server."""

import hashlib
import hmac
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from testbed.instance import Instance
from tests.acceptance.instances import as_new, idle_instance
from tests.certificates import Identity
from tests.partners.tls_front import tls_before
from tests.receiver import Receiver

pytestmark = pytest.mark.acceptance

PRINTED = """curl -u "user" -i \\
https://api.socialgateway.net/hub \\
-F "hub.mode=subscribe" \\
-F "hub.topic=http://socialgateway.net/:owner/:repo/events/push" \\
-F "hub.callback=http://postbin.org/123"
"""
HOST = "api.socialgateway.net"


@dataclass(frozen=True)
class Shell:
    """A shell whose curl finds the documentation's host at this machine, and types the key as the password."""

    home: Path
    key: str

    def run(self, command: str) -> str:
        done = subprocess.run(
            ["bash", "-c", command], env={"PATH": os.environ["PATH"], "CURL_HOME": str(self.home)},
            # Without a terminal, curl reads the password from its standard input.
            input=f"{self.key}\n", start_new_session=True, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout.replace("\r\n", "\n")


@pytest.fixture(scope="module")
def shared() -> Iterator[Instance]:
    with idle_instance(HOOKHUB_BEHIND_TLS_PROXY="1", HOOKHUB_SERVED_HOSTS=f"127.0.0.1,{HOST}") as running:
        yield running


@pytest.fixture
def instance(shared: Instance) -> Instance:
    return as_new(shared)


@pytest.fixture
def shell(instance: Instance, tmp_path: Path) -> Iterator[Shell]:
    authority = Identity.make(tmp_path / "authority.pem", "Test authority")
    server = Identity.make(tmp_path / "server.pem", HOST, issuer=authority)
    with tls_before(instance.port, server.server_context()) as port:
        settings = {"connect-to": f"{HOST}:443:127.0.0.1:{port}", "cacert": str(authority.path)}
        lines = [f'{name} = "{value}"' for name, value in settings.items()]
        (tmp_path / ".curlrc").write_text("\n".join(["silent", *lines, ""]))
        yield Shell(tmp_path, instance.key)


def call(instance: Instance, method: str, path: str, body: Any = None) -> Any:
    answer = requests.request(
        method, f"{instance.url}{path}", json=body, headers={"Authorization": f"Bearer {instance.key}"}, timeout=30
    )
    assert answer.ok, answer.text
    return answer.json()


def test_the_printed_command_subscribes_and_its_updates_arrive(
    instance: Instance, shell: Shell, receiver: Receiver
) -> None:
    owner = call(instance, "GET", "/user")["login"]
    call(instance, "POST", "/v1/repositories", {"name": "Hello-World"})
    command = PRINTED.replace(":owner/:repo", f"{owner}/Hello-World")

    assert shell.run(command).startswith("HTTP/1.1 204 ")
    [hook] = call(instance, "GET", f"/repos/{owner}/Hello-World/hooks")
    assert (hook["name"], hook["active"], hook["events"]) == ("web", True, ["push"])
    assert hook["config"] == {"url": "http://postbin.org/123", "content_type": "form", "insecure_ssl": "0"}

    # The same, at an address where the updates can be seen.
    signed = '-F "hub.secret=s3cret"'
    elsewhere = command.replace("http://postbin.org/123", receiver.url("/123"))
    assert shell.run(f"{elsewhere.rstrip()} {signed}").startswith("HTTP/1.1 204 ")
    assert shell.run(command.replace("=subscribe", "=unsubscribe")).startswith("HTTP/1.1 204 ")
    instance.client.publish("push", {"ref": "refs/heads/main"}, repository="Hello-World")
    [request] = receiver.wait_for(1)
    assert json.loads(parse_qs(request.body.decode())["payload"][0]) == {"ref": "refs/heads/main"}
    assert request.headers["x-hub-signature"] == "sha1=" + hmac.new(b"s3cret", request.body, hashlib.sha1).hexdigest()

    refused = shell.run(command.replace("events/push", "events/pushed"))
    assert refused.startswith("HTTP/1.1 422 ")
    assert refused.endswith('\n\n{"message":"Invalid event: \\"pushed\\""}')


def test_no_other_address_reads_multipart(instance: Instance, shell: Shell) -> None:
    answers = [
        shell.run(f'curl -u user -i https://{HOST}{path} -F "hub.mode=subscribe"')
        for path in ("/hub", "/api/v3/hub", "/repos/a/b/hooks", "/v1/events", "/hub/")
    ]

    assert [answer.split()[1] for answer in answers] == ["422", "422", "415", "415", "415"]
