"""People log in by a real OpenID provider, or with a password and a second factor."""

import base64
import hashlib
import hmac
import html
import json
import re
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from urllib.parse import urljoin

import pytest
import requests

from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.instance import Instance
from testbed.processes import free_port, wait_for
from testbed.servers import Servers
from tests import chromium
from tests.acceptance.instances import prepared_home

pytestmark = pytest.mark.acceptance

PASSWORD = "a long and secret password"
PEOPLE = {
    "alice": {"preferred_username": "alice", "email": "alice@example.org", "groups": ["platform"]},
    "bob": {"preferred_username": "bob", "email": "bob@example.org", "groups": ["acme-all", "acme-owners"]},
    "carol": {"preferred_username": "carol", "groups": ["others"]},
}
ROLES = "platform=*:superuser; acme-all=acme:reader; acme-owners=acme:owner; acme-all=missing:reader"
MAKE_ROOT = ("createsuperuser", "--no-input", "--username", "root", "--email", "root@example.org")
Form = tuple[str, dict[str, str]]


class Provider:
    """The provider at a port, which can be started with other people."""

    def __init__(self, back: str) -> None:
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._back = back
        self._process: subprocess.Popen[str] | None = None

    def start(self, people: dict[str, dict[str, object]]) -> None:
        """Start it, or start it again."""
        self.stop()
        command = ["node", str(ROOT / "tests/partners/oidc_provider.mjs"), str(self.port), self._back]
        self._process = subprocess.Popen(
            [*command, json.dumps(people)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert "ready" in self._process.stdout.readline()

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def deployed() -> Iterator[tuple[Instance, Provider]]:
    port = free_port()
    provider = Provider(f"http://127.0.0.1:{port}/accounts/oidc/sso/login/callback/")
    settings = {
        "PORT": str(port),
        "HOOKHUB_OIDC_ISSUER": provider.issuer,
        "HOOKHUB_OIDC_CLIENT_ID": "hookhub",
        "HOOKHUB_OIDC_CLIENT_SECRET": "a-client-secret",
        "HOOKHUB_OIDC_SCOPES": "openid,profile,email,groups",
        "HOOKHUB_OIDC_NAME": "Example",
        "HOOKHUB_OIDC_ROLES": ROLES,
        "HOOKHUB_TWO_FACTOR": "required",
    }
    with (
        prepared_home("hookhub-test-", with_key=True) as home,
        Servers(home) as servers,
        closing(Instance(servers, logs=home, WEB_WORKERS="1", **settings)) as running,
    ):
        service.run("migrate", environment=running.environment)
        service.run(*MAKE_ROOT, environment=running.environment | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD})
        running.start("web")
        running.wait_until_ready()
        try:
            provider.start(PEOPLE)
            yield running, provider
        finally:
            provider.stop()


@contextmanager
def a_browser() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Accept"] = "text/html"
        yield session


def forms_of(page: requests.Response) -> list[Form]:
    """Return the action of each form of a page, with its hidden fields and buttons."""
    found = []
    for head, body in re.findall(r"<form([^>]*)>(.*?)</form>", page.text, re.DOTALL):
        action = re.search(r'action="([^"]*)"', head)
        fields = dict[str, str]()
        for tag in re.findall(r"<(?:input|button)[^>]*>", body):
            attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
            if "name" in attributes and attributes.get("type") in {"hidden", "submit"}:
                fields[attributes["name"]] = html.unescape(attributes.get("value", ""))
        found.append((urljoin(page.url, html.unescape(action[1]) if action else ""), fields))
    return found


def submit(session: requests.Session, page: requests.Response, *, form: int = 0, **fields: str) -> requests.Response:
    action, hidden = forms_of(page)[form]
    return session.post(action, data={**hidden, **fields}, headers={"Referer": page.url}, timeout=30)


def log_in_by_provider(session: requests.Session, url: str, name: str, *, to: str = "/admin/") -> requests.Response:
    page = session.get(f"{url}{to}", timeout=30)
    assert page.url.startswith(f"{url}/accounts/login/"), page.url
    page = submit(session, page)
    # Who it is, and whether HookHub may know.
    page = submit(session, page, login=name, password="any")
    while not page.url.startswith(url):
        page = submit(session, page)
    return page


def log_in_by_password(session: requests.Session, url: str, *, to: str = "/admin/") -> requests.Response:
    page = session.get(f"{url}{to}", timeout=30)
    return submit(session, page, form=-1, login="root", password=PASSWORD)


def code_of(secret: str, *, at: float) -> str:
    """Return the code of a secret, as an app computes it (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(at // 30)), hashlib.sha1)
    start = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[start : start + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def roles(instance: Instance) -> dict[str, str]:
    found = instance.ask(
        "SELECT jsonb_object_agg(u.username, m.role) FROM hookhub_membership m JOIN auth_user u ON u.id = m.user_id"
    )
    return dict(found or {})


def test_a_login_has_what_its_claims_give_until_they_no_longer_do(deployed: tuple[Instance, Provider]) -> None:
    instance, provider = deployed
    with a_browser() as session:
        page = log_in_by_provider(session, instance.url, "alice")
        assert (page.status_code, page.url) == (200, f"{instance.url}/admin/")
    with a_browser() as session:
        page = log_in_by_provider(session, instance.url, "bob", to="/portal/members")
        assert "acme" in page.text
        assert session.get(f"{instance.url}/admin/", timeout=30).status_code == 403
    with a_browser() as session:
        page = log_in_by_provider(session, instance.url, "carol", to="/portal/members")
        assert "acme" not in page.text
    assert roles(instance) == {"bob": "owner"}
    entries = instance.ask("SELECT jsonb_agg(action ORDER BY id) FROM hookhub_audit_entry WHERE actor_kind = 'system'")
    assert (entries or []).count("membership.created") <= 1

    provider.start({**PEOPLE, "alice": {"groups": []}, "bob": {"groups": ["acme-all"]}})
    with a_browser() as session:
        log_in_by_provider(session, instance.url, "bob", to="/portal/members")
    assert roles(instance) == {"bob": "reader"}
    provider.start({**PEOPLE, "alice": {"groups": []}, "bob": {}})
    for name in ("bob", "alice"):
        with a_browser() as session:
            log_in_by_provider(session, instance.url, name, to="/portal/members")
    assert roles(instance) == {}
    assert instance.ask("SELECT is_superuser OR is_staff FROM auth_user WHERE username = 'alice'") is False
    # The operator's account is still another one.
    assert instance.ask("SELECT count(*) FROM auth_user") == 4
    provider.start(PEOPLE)


def test_a_password_needs_a_second_factor_which_is_set_up_first(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    url = instance.url
    with a_browser() as session:
        page = log_in_by_password(session, url)
        assert page.url == f"{url}/accounts/2fa/totp/activate/"
        # No page and no program can be used without it.
        page = session.get(f"{url}/admin/", timeout=30)
        assert page.url == f"{url}/accounts/2fa/totp/activate/"
        refused = session.get(f"{url}/v1/webhooks", headers={"Accept": "application/json"}, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "second_factor_missing")
        secret = re.search(r'value="([A-Z2-7]{32})"', page.text)
        assert secret is not None
        page = submit(session, page, code=code_of(secret[1], at=time.time()))
        codes = re.findall(r"\b[0-9a-f]{8,10}\b|\b\d{8,10}\b", page.text)
        assert len(set(codes)) >= 5, page.url
        assert session.get(f"{url}/admin/", timeout=30).url == f"{url}/admin/"
    assert secret[1] not in json.dumps(instance.ask("SELECT jsonb_agg(data) FROM mfa_authenticator"))

    with a_browser() as session:
        page = log_in_by_password(session, url)
        assert page.url == f"{url}/accounts/2fa/authenticate/"
        assert session.get(f"{url}/admin/", timeout=30).url != f"{url}/admin/"
        page = session.get(f"{url}/accounts/2fa/authenticate/", timeout=30)
        wrong = submit(session, page, code="000000")
        assert wrong.url == f"{url}/accounts/2fa/authenticate/"
        page = submit(session, wrong, code=codes[0])
        assert session.get(f"{url}/admin/", timeout=30).url == f"{url}/admin/"
    with a_browser() as session:
        page = log_in_by_password(session, url)
        again = submit(session, page, code=codes[0])
        assert again.url == f"{url}/accounts/2fa/authenticate/"


def test_no_other_page_of_allauth_is_open(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    with a_browser() as session:
        for path in ("signup/", "password/reset/", "email/", "password/change/", "3rdparty/", "3rdparty/signup/"):
            assert session.get(f"{instance.url}/accounts/{path}", timeout=30).status_code == 404, path


def test_in_chromium_the_button_leads_to_the_provider_and_back(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    with chromium.browser() as browser:
        page = browser.new_page()
        violations: list[str] = []
        chromium.note_violations(page, violations)
        page.goto(f"{instance.url}/portal/members")
        page.get_by_role("button", name="Log in with Example").click()
        page.fill("input[name=login]", "bob")
        page.fill("input[name=password]", "any")
        page.get_by_role("button").first.click()
        page.get_by_role("button").first.click()
        page.wait_for_url(f"{instance.url}/portal/members")
        assert "acme" in page.content()
    assert [each for each in violations if each.startswith(instance.url)] == []


def test_without_local_logins_a_password_is_of_no_use(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    port = free_port()
    with instance.started("web-2", PORT=str(port), HOOKHUB_LOCAL_LOGIN="0"), a_browser() as session:
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: service.is_ready(url), "the second web server")
        page = session.get(f"{url}/admin/", timeout=30)
        assert 'name="password"' not in page.text
        token = forms_of(page)[0][1]["csrfmiddlewaretoken"]
        fields = {"login": "root", "password": PASSWORD, "csrfmiddlewaretoken": token}
        session.post(f"{url}/accounts/login/", data=fields, headers={"Referer": page.url}, timeout=30)
        assert session.get(f"{url}/admin/", timeout=30).url != f"{url}/admin/"
        for path in ("/admin/login/", "/v1/auth/login/"):
            assert session.get(f"{url}{path}", timeout=30).url.startswith(f"{url}/accounts/login/")
