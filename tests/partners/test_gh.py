"""GitHub's command line, unmodified, logs in over TLS to the servers used in production, and manages hooks."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests

from testbed.instance import Instance
from testbed.processes import wait_for
from tests.acceptance.instances import running_instance
from tests.certificates import Identity
from tests.partners.github_clients import GH
from tests.partners.tls_front import tls_before
from tests.receiver import Receiver

pytestmark = pytest.mark.github

HOOKS = "repos/acme/widgets/hooks"
STRANGER = "hh_000000000000_" + "a" * 43
# The pinned version, and the system's if it has one.
VERSIONS = [GH, *([Path(found)] if (found := shutil.which("gh")) else [])]
Said = tuple[int, str, str]


@dataclass(frozen=True)
class CommandLine:
    """A gh configured for one host, which trusts that host's certificate authority."""

    program: Path
    environment: dict[str, str]

    def run(self, *words: str, given: str = "", **environment: str) -> Said:
        """Return the exit status and both outputs."""
        done = subprocess.run(
            [self.program, *words], input=given, env=self.environment | environment, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def api(self, *words: str, given: str = "") -> Any:
        """Return the response of `gh api`, parsed as JSON; None for an empty one."""
        code, out, complaint = self.run("api", *words, given=given)
        assert (code, complaint) == (0, "")
        return json.loads(out) if out else None

    def refusal(self, *words: str) -> tuple[Any, str]:
        """Return the response body and the error message of a rejected `gh api`."""
        code, out, complaint = self.run("api", *words)
        assert code == 1
        return json.loads(out), complaint.strip()


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with running_instance(HOOKHUB_BEHIND_TLS_PROXY="1", HOOKHUB_ALLOW_PRIVATE_TARGETS="1") as instance:
        authorized = {"Authorization": f"Bearer {instance.key}"}
        made = requests.post(
            f"{instance.url}/v1/repositories", json={"name": "widgets"}, headers=authorized, timeout=30
        )
        assert made.status_code == 201
        yield instance


@pytest.fixture(params=VERSIONS, ids=["pinned", "of the system"][: len(VERSIONS)])
def gh(request: pytest.FixtureRequest, instance: Instance, tmp_path: Path) -> Iterator[CommandLine]:
    authority = Identity.make(tmp_path / "authority.pem", "Test authority")
    server = Identity.make(tmp_path / "server.pem", "127.0.0.1", issuer=authority, address="127.0.0.1")
    with tls_before(instance.port, server.server_context()) as port:
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "GH_CONFIG_DIR": str(tmp_path / "gh"),
            "SSL_CERT_FILE": str(authority.path), "GH_HOST": f"127.0.0.1:{port}", "GH_ENTERPRISE_TOKEN": instance.key,
            "GH_NO_UPDATE_NOTIFIER": "1", "NO_COLOR": "1",
        }  # fmt: skip
        yield CommandLine(request.param, environment)


def test_auth_status_tells_a_key_from_none(gh: CommandLine) -> None:
    code, out, complaint = gh.run("auth", "status")
    refused, _, reason = gh.run("auth", "status", GH_ENTERPRISE_TOKEN=STRANGER)

    # Versions of gh differ in the output stream and the wording.
    assert (code, "acme" in out + complaint, "GH_ENTERPRISE_TOKEN" in out + complaint) == (0, True, True)
    assert (refused, "GH_ENTERPRISE_TOKEN is" in reason) == (1, True)


def test_a_hooks_life(gh: CommandLine) -> None:
    with Receiver() as receiver:
        url = receiver.url("/hook")
        typed = ("-f", "name=web", "-f", f"config[url]={url}", "-f", "config[content_type]=json")
        hook = gh.api(HOOKS, *typed, "-f", "events[]=push", "-F", "active=true")
        # gh does not know the length beforehand, so it sends the body in chunks.
        others = [gh.api(HOOKS, "--input", "-", given=json.dumps({"config": {"url": f"{url}/{n}"}})) for n in range(3)]
        ids = [hook["id"], *(other["id"] for other in others)]
        path = f"{HOOKS}/{hook['id']}"
        assert (hook["url"], hook["config"]["url"]) == (f"https://{gh.environment['GH_HOST']}/api/v3/{path}", url)
        _, listed, _ = gh.run("api", "--paginate", f"{HOOKS}?per_page=3", "--jq", ".[].id")
        assert [int(line) for line in listed.split()] == ids

        assert gh.api("--method", "PATCH", path, "-f", "add_events[]=issues")["events"] == ["push", "issues"]
        assert gh.api("--method", "PATCH", f"{path}/config", "-f", "content_type=form")["content_type"] == "form"
        assert gh.api("--method", "POST", f"{path}/pings") is None
        wait_for(lambda: gh.api(f"{path}/deliveries"), "the ping in the log")
        [delivery] = gh.api(f"{path}/deliveries")
        assert (delivery["event"], delivery["status"]) == ("ping", "OK")
        whole = gh.api(f"{path}/deliveries/{delivery['id']}")
        assert (whole["request"]["payload"]["hook_id"], whole["response"]["payload"]) == (hook["id"], "ok")
        assert gh.api("--method", "POST", f"{path}/deliveries/{delivery['id']}/attempts") == {}
        again = receiver.wait_for(2)
        assert len({request.headers["x-socialgateway-delivery"] for request in again}) == 1

        for number in ids:
            assert gh.api("--method", "DELETE", f"{HOOKS}/{number}") is None
    assert gh.api(HOOKS) == []


def test_whose_key_it_is_and_what_is_left_of_its_limit(gh: CommandLine) -> None:
    assert gh.api("user")["login"] == "acme"
    assert gh.api("rate_limit")["rate"]["limit"] == 6000
    assert gh.api("graphql", "-f", "query=query UserCurrent{viewer{login}}") == {"data": {"viewer": {"login": "acme"}}}


def test_refusals_end_with_githubs_words(gh: CommandLine) -> None:
    row = {"resource": "Hook", "field": "url", "code": "missing_field"}
    missing = {"message": "Validation Failed", "errors": [row]}

    assert gh.refusal("repos/acme/nowhere/hooks") == ({"message": "Not Found"}, "gh: Not Found (HTTP 404)")
    assert gh.refusal(HOOKS, "-f", "config[content_type]=json") == (missing, "gh: Validation Failed (HTTP 422)")
    assert gh.api(HOOKS) == []
