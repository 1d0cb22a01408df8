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
from urllib.parse import urljoin, urlsplit

import pytest
import requests
from cryptography.fernet import Fernet
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from playwright.sync_api import Browser

from hookhub.embedded import service
from hookhub.procfile import ROOT
from testbed.instance import Instance
from testbed.processes import free_port, wait_for
from testbed.servers import Servers
from tests import axe, chromium
from tests.acceptance.instances import prepared_home
from tests.printed import blocks_below

pytestmark = pytest.mark.acceptance

PASSWORD = "a long and secret password"
# With one iteration, as `tests.quick_logins` checks it; what makes passwords slow is Django's, and in other tests.
QUICK = PBKDF2PasswordHasher().encode(PASSWORD, "a salt that is long enough", iterations=1)
PEOPLE = {
    "alice": {"preferred_username": "alice", "email": "alice@example.org", "groups": ["platform"]},
    "bob": {"preferred_username": "bob", "email": "bob@example.org", "groups": ["acme-team", "acme-leads"]},
    "carol": {"preferred_username": "carol", "groups": ["others"]},
}
PRINTED_ADDRESS, PRINTED_SETTINGS = blocks_below("docs/sso.md", "## By a provider")
[PRINTED_SCOPES] = re.findall(r"`HOOKHUB_OIDC_SCOPES=([a-z,]+)`", (ROOT / "docs" / "sso.md").read_text())
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
    provider = Provider(f"http://127.0.0.1:{port}{urlsplit(PRINTED_ADDRESS.strip()).path}")
    printed = dict(line.split("=", 1) for line in PRINTED_SETTINGS.splitlines())
    settings = printed | {
        "PORT": str(port),
        "HOOKHUB_OIDC_ISSUER": provider.issuer,
        "HOOKHUB_OIDC_CLIENT_SECRET": "a-client-secret",
        # This provider is one of those.
        "HOOKHUB_OIDC_SCOPES": PRINTED_SCOPES,
        "HOOKHUB_OIDC_NAME": "Example",
        "HOOKHUB_OIDC_ROLES": printed["HOOKHUB_OIDC_ROLES"] + "; acme-team=missing:reader",
        "HOOKHUB_TWO_FACTOR": "required",
    }
    with (
        prepared_home("hookhub-test-", with_key=True) as home,
        Servers(home) as servers,
        closing(Instance(servers, logs=home, WEB_WORKERS="1", **settings)) as running,
    ):
        service.run("migrate", environment=running.environment)
        service.run(*MAKE_ROOT, environment=running.environment | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD})
        running.ask("UPDATE auth_user SET password = %s RETURNING id", QUICK)
        running.commands["web"] = running.commands["web"].replace("hookhub.service.asgi", "tests.quick_logins")
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


def log_in_by_password(session: requests.Session, url: str, name: str = "root") -> requests.Response:
    page = session.get(f"{url}/admin/", timeout=30)
    return submit(session, page, form=-1, login=name, password=PASSWORD)


def like_root(instance: Instance, name: str) -> str:
    """Make an operator with the password of the first; return the name."""
    columns = "password, is_superuser, first_name, last_name, email, is_staff, is_active, date_joined"
    source = f"SELECT %s, {columns} FROM auth_user WHERE username = 'root'"
    instance.ask(f"INSERT INTO auth_user (username, {columns}) {source} RETURNING id", name)
    return name


def enrol(session: requests.Session, page: requests.Response) -> tuple[str, list[str]]:
    """Set up a second factor in the form for it; return its secret and the recovery codes."""
    secret = re.search(r'value="([A-Z2-7]{32})"', page.text)
    assert secret is not None
    page = submit(session, page, code=code_of(secret[1], at=time.time()))
    codes = re.findall(r"\b\d{8,10}\b", page.text)
    assert len(set(codes)) >= 5, page.url
    return secret[1], codes


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

    provider.start({**PEOPLE, "alice": {"groups": []}, "bob": {"groups": ["acme-team"]}})
    with a_browser() as session:
        log_in_by_provider(session, instance.url, "bob", to="/portal/members")
    assert roles(instance) == {"bob": "manager"}
    provider.start({**PEOPLE, "alice": {"groups": []}, "bob": {}})
    for name in ("bob", "alice"):
        with a_browser() as session:
            log_in_by_provider(session, instance.url, name, to="/portal/members")
    assert roles(instance) == {}
    assert instance.ask("SELECT is_superuser OR is_staff FROM auth_user WHERE username = 'alice'") is False
    # The operator's account is still another one.
    assert instance.ask("SELECT count(*) FROM auth_user WHERE username = ANY(%s)", [*PEOPLE, "root"]) == 4
    provider.start(PEOPLE)


def test_a_password_needs_a_second_factor_which_is_set_up_first(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    url = instance.url
    with a_browser() as session:
        page = log_in_by_password(session, url, name := like_root(instance, "erin"))
        assert page.url == f"{url}/accounts/2fa/totp/activate/"
        # No page and no program can be used without it.
        page = session.get(f"{url}/admin/", timeout=30)
        assert page.url == f"{url}/accounts/2fa/totp/activate/"
        refused = session.get(f"{url}/v1/webhooks", headers={"Accept": "application/json"}, timeout=30)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "second_factor_missing")
        secret, codes = enrol(session, page)
        assert session.get(f"{url}/admin/", timeout=30).url == f"{url}/admin/"
    assert secret not in json.dumps(instance.ask("SELECT jsonb_agg(data) FROM mfa_authenticator"))

    with a_browser() as session:
        page = log_in_by_password(session, url, name)
        assert page.url == f"{url}/accounts/2fa/authenticate/"
        assert session.get(f"{url}/admin/", timeout=30).url != f"{url}/admin/"
        page = session.get(f"{url}/accounts/2fa/authenticate/", timeout=30)
        wrong = submit(session, page, code="000000")
        assert wrong.url == f"{url}/accounts/2fa/authenticate/"
        page = submit(session, wrong, code=codes[0])
        assert session.get(f"{url}/admin/", timeout=30).url == f"{url}/admin/"
    with a_browser() as session:
        page = log_in_by_password(session, url, name)
        again = submit(session, page, code=codes[0])
        assert again.url == f"{url}/accounts/2fa/authenticate/"


def test_all_web_servers_know_which_codes_were_tried_and_used(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    name = like_root(instance, "dave")
    old, new = (instance.logs / "encryption_keys").read_text().strip(), Fernet.generate_key().decode()
    port = free_port()
    keys = {"HOOKHUB_ENCRYPTION_KEYS": f"{new},{old}"}
    first, second = instance.url, f"http://127.0.0.1:{port}"
    with instance.started("web-2", PORT=str(port), **keys), a_browser() as session, a_browser() as other:
        secret, codes = enrol(session, log_in_by_password(session, first, name))
        session.cookies.clear()
        code = code_of(secret, at=time.time())
        assert submit(session, log_in_by_password(session, first, name), code=code).url == f"{first}/admin/"
        session.cookies.clear()

        # A thief has seen the code, and tries it at another server.
        wait_for(lambda: service.is_ready(second), "the second web server")
        pages = {first: log_in_by_password(session, first, name), second: log_in_by_password(other, second, name)}
        for url, browser, tried in (
            (second, other, code), (second, other, "000001"), (first, session, "000002"), (second, other, "000003"),
            (first, session, "000004"), (second, other, codes[0]), (first, session, codes[1]),
        ):  # fmt: skip
            answered = submit(browser, pages[url], code=tried)
            assert answered.url == f"{url}/accounts/2fa/authenticate/", tried
            assert ("Too many failed" in answered.text) == (tried in codes), tried

        said = service.run("reencrypt_secrets", environment=instance.environment | keys)
        assert "Only the first key is needed now." in said
    question = "SELECT jsonb_object_agg(type, data) FROM mfa_authenticator JOIN auth_user u ON u.id = user_id"
    stored = instance.ask(f"{question} WHERE username = %s", name)
    assert Fernet(new).decrypt(stored["totp"]["secret"]).decode() == secret
    assert Fernet(new).decrypt(stored["recovery_codes"]["seed"])
    instance.ask("DELETE FROM mfa_authenticator RETURNING id")


def test_only_an_operator_resets_a_second_factor_and_that_is_recorded(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    url, page_of = instance.url, f"{instance.url}/admin/mfa/authenticator/"
    with a_browser() as session:
        enrol(session, log_in_by_password(session, url, like_root(instance, "heidi")))
    with a_browser() as staff, a_browser() as operator:
        enrol(staff, log_in_by_password(staff, url, name := like_root(instance, "ivan")))
        enrol(operator, log_in_by_password(operator, url, like_root(instance, "judy")))
        instance.ask("UPDATE auth_user SET is_superuser = false WHERE username = %s RETURNING id", name)
        instance.ask(
            "INSERT INTO auth_user_user_permissions (user_id, permission_id) SELECT u.id, p.id FROM auth_user u, "
            "auth_permission p WHERE u.username = %s RETURNING id",
            name,
        )
        factor = instance.ask(
            "SELECT a.id FROM mfa_authenticator a JOIN auth_user u ON u.id = a.user_id "
            "WHERE u.username = 'heidi' AND a.type = 'totp'"
        )
        pages = ("mfa/authenticator/", f"mfa/authenticator/{factor}/delete/", "socialaccount/socialaccount/add/")
        refused = [staff.get(f"{url}/admin/{each}", timeout=30).status_code for each in pages]
        assert (refused, staff.get(f"{url}/admin/", timeout=30).status_code) == ([403] * 3, 200)
        shown = operator.get(f"{page_of}{factor}/change/", timeout=30)
        assert (shown.status_code, "gAAAA" in shown.text) == (200, False)
        submit(operator, operator.get(f"{page_of}{factor}/delete/", timeout=30), form=-1)
    recorded = instance.ask(
        "SELECT jsonb_agg(jsonb_build_array(actor_id, target_id, before::jsonb)) FROM hookhub_audit_entry "
        "WHERE action = 'user.second_factor_removed'"
    )
    assert recorded == [["judy", "heidi", {"type": "totp"}]]
    # The recovery codes that are left are no second factor: allauth asks for none.
    with a_browser() as session:
        page = log_in_by_password(session, url, "heidi")
        assert page.url == f"{url}/accounts/2fa/totp/activate/"


def test_nobody_links_an_account_at_the_provider_to_a_person_that_is_logged_in(
    deployed: tuple[Instance, Provider],
) -> None:
    instance, provider = deployed
    provider.start({**PEOPLE, "mallory": {"preferred_username": "mallory"}})
    with a_browser() as session:
        enrol(session, log_in_by_password(session, instance.url, like_root(instance, "kim")))
        page = submit(session, session.get(f"{instance.url}/accounts/oidc/sso/login/?process=connect", timeout=30))
        if not page.url.startswith(instance.url):
            page = submit(session, page, login="mallory", password="any")
        while not page.url.startswith(instance.url):
            page = submit(session, page)
        assert page.status_code == 403
    linked = "SELECT count(*) FROM socialaccount_socialaccount s JOIN auth_user u ON u.id = s.user_id"
    assert instance.ask(f"{linked} WHERE u.username = 'kim'") == 0
    provider.start(PEOPLE)


def logins_of(instance: Instance, name: str) -> list[str]:
    """Return how the logins of a name ended, as the log of the web server says."""
    text = "".join(path.read_text() for path in instance.logs.glob("*.log"))
    return re.findall(rf"login ([a-z ]+): name '{name}', address", text)


def test_a_login_in_two_steps_is_counted_and_recorded_under_its_own_name(
    deployed: tuple[Instance, Provider],
) -> None:
    instance, _ = deployed
    url, wanted = instance.url, like_root(instance, "frank")
    decoys = [f"decoy{number}" for number in range(11)]
    with a_browser() as session:
        _, codes = enrol(session, log_in_by_password(session, url, like_root(instance, "grace")))
        # Led on without a look at the password, which is no login of that name.
        page = session.get(f"{url}/accounts/2fa/", timeout=30)
        form = {"csrfmiddlewaretoken": session.cookies["csrftoken"], "login": wanted, "password": "any"}
        led_on = session.post(
            f"{url}/accounts/login/", form, headers={"Referer": page.url}, timeout=30, allow_redirects=False
        )
        assert (led_on.status_code, "hookhub_device" in led_on.cookies) == (302, False)
    assert logins_of(instance, wanted) == ["failed"]

    with a_browser() as session:
        page = log_in_by_password(session, url, "grace")
        wrong = submit(session, page, code="000000")
        known = submit(session, wrong, code=codes[0]).history[0].cookies
        assert "hookhub_device" in known
    assert logins_of(instance, "grace") == [
        "succeeded", "waits for a second factor", "failed at the second factor", "succeeded",
    ]  # fmt: skip

    # One more than an attempt for each of the ten that a name may have.
    with a_browser() as session:
        page = session.get(f"{url}/accounts/login/", timeout=30)
        tried = [
            submit(session, page, form=-1, username=decoy, login=wanted, password="wrong").status_code
            for decoy in decoys
        ]
    assert tried == [200] * 9 + [429] * 2
    assert [logins_of(instance, decoy) for decoy in decoys] == [[]] * len(decoys)


def test_no_other_page_of_allauth_is_open(deployed: tuple[Instance, Provider]) -> None:
    instance, _ = deployed
    with a_browser() as session:
        for path in ("signup/", "password/reset/", "email/", "password/change/", "3rdparty/", "3rdparty/signup/"):
            assert session.get(f"{instance.url}/accounts/{path}", timeout=30).status_code == 404, path


def test_in_chromium_the_button_leads_to_the_provider_and_back(
    deployed: tuple[Instance, Provider], chrome: Browser
) -> None:
    instance, _ = deployed
    page = chrome.new_page()
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
    page.close()


def test_axe_finds_nothing_serious_on_any_page_of_a_login(deployed: tuple[Instance, Provider], chrome: Browser) -> None:
    axe.require()
    instance, _ = deployed
    name = like_root(instance, "mallory")
    page = chrome.new_page(base_url=instance.url, bypass_csp=True, viewport={"width": 360, "height": 800})
    axe.examine_in(page)
    found: dict[str, list[axe.Finding]] = {}

    def examine(what: str) -> None:
        page.emulate_media(color_scheme="light")
        found[what] = axe.serious_findings(page)
        page.emulate_media(color_scheme="dark")
        found[what] += axe.serious_findings(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, what

    def log_in(password: str) -> None:
        page.goto("/accounts/login/?next=/admin/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Log in", exact=True).click()

    for path in ("login/", "inactive/", "3rdparty/login/cancelled/", "3rdparty/login/error/"):
        page.goto(f"/accounts/{path}")
        examine(path)
    log_in("wrong")
    examine("a wrong password")
    log_in(PASSWORD)
    examine("a second factor is set up")
    secret = page.locator("#authenticator_secret").input_value()
    code = page.locator("input[name=code]")
    code.fill("000000")
    page.get_by_role("button", name="Activate").click()
    examine("a wrong code for it")
    secret = page.locator("#authenticator_secret").input_value()
    code.fill(code_of(secret, at=time.time()))
    page.get_by_role("button", name="Activate").click()
    page.wait_for_url("**/recovery-codes/")
    examine("recovery codes")
    for path in ("2fa/", "2fa/recovery-codes/generate/", "2fa/totp/deactivate/", "reauthenticate/", "logout/"):
        page.goto(f"/accounts/{path}")
        examine(path)
    page.get_by_role("button", name="Sign Out").click()
    log_in(PASSWORD)
    page.wait_for_url("**/authenticate/")
    examine("a code is asked for")
    page.locator("input[name=code]").fill("000000")
    page.get_by_role("button", name="Sign In").click()
    examine("a wrong code")

    assert {what: spots for what, spots in found.items() if spots} == {}
    page.close()


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
