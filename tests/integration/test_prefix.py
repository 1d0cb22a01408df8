"""Under a path prefix, every page, header and document links to URLs under that prefix."""

import asyncio
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.shortcuts import resolve_url
from django.test import Client
from django.urls import get_script_prefix, set_script_prefix
from django.utils import timezone

from deliveries.models import Repository
from hookhub import portal_sessions
from hookhub.models import PortalSession
from hookhub.server.environ import path_of as path_of_scope
from hookhub.server.prefix import mounted, mounted_front, without_prefix
from tests.api import Caller
from tests.partners.live import deliver
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db

PREFIX = "/hooks"
ADDRESS = re.compile(r"https?://testserver[^\s\"'<>,;{}\\]*")


@pytest.fixture(autouse=True)
def under_the_prefix() -> Iterator[None]:
    """Set the script prefix as Django's WSGI handler does from SCRIPT_NAME, and its test client does not."""
    before = get_script_prefix()
    set_script_prefix(f"{PREFIX}/")
    yield
    set_script_prefix(before)


class Links(HTMLParser):
    """Collects the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del tag
        self.found |= {value for name, value in attrs if name in {"href", "src", "action", "hx-get"} and value}


class Crawler:
    """Follows links as a browser behind the proxy does; a link outside the prefix leads to another site."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: dict[str, int] = {}
        self.astray: list[tuple[str, str]] = []

    def visit(self, start: str, *, most: int) -> None:
        waiting = [start]
        while waiting and len(self.seen) < most:
            path = waiting.pop(0)
            if path in self.seen or "logout" in path or "format=" in path:
                continue
            answer = self.client.get(path.removeprefix(PREFIX) or "/", headers={"Accept": "text/html,*/*"})
            self.seen[path] = answer.status_code
            addresses = self.addresses_in(answer)
            answer.close()
            for address in addresses:
                there = urlsplit(urljoin(f"http://testserver{path}", address))
                if there.scheme not in {"http", "https"} or there.netloc != "testserver":
                    continue
                if there.path == PREFIX or there.path.startswith(f"{PREFIX}/"):
                    waiting.append(there.path + (f"?{there.query}" if there.query else ""))
                else:
                    self.astray.append((path, address))

    def addresses_in(self, answer: Any) -> set[str]:
        headers = {answer.headers[name] for name in ("Location", "Content-Location") if name in answer.headers}
        headers |= set(re.findall("<([^>]+)>", answer.headers.get("Link", "")))
        if "html" not in answer.headers.get("Content-Type", ""):
            return headers
        links = Links()
        links.feed(b"".join(answer).decode())
        return headers | links.found


@pytest.mark.django_db(transaction=True)
def test_every_page_of_the_portal_leads_to_pages_under_the_prefix(
    receiver: Receiver, api: Caller, repository: Repository
) -> None:
    uid = api.post("/v1/webhooks", {"url": receiver.url(), "events": ["*"]}).json()["id"]
    api.post("/v1/events", {"type": "push", "data": {}, "repository": "widgets"})
    deliver()
    api.post("/v1/alert-channels", {"type": "email", "recipients": ["a@example.com"]})
    client = Client(SCRIPT_NAME=PREFIX)
    session, token = portal_sessions.create(
        portal_sessions.NewSession(repository.organization, PortalSession.Role.MANAGE, timedelta(hours=1)),
        now=timezone.now(),
    )
    opened = client.get("/portal/enter", {"token": token})
    assert (opened.status_code, opened["Location"]) == (302, f"{PREFIX}/portal/")
    # Browsers refuse a cookie of the name __Host-… with another path.
    assert opened.cookies[settings.HOOKHUB_PORTAL_COOKIE]["path"] == "/"
    crawler = Crawler(client)

    crawler.visit(f"{PREFIX}/portal/", most=120)

    assert crawler.astray == []
    strange = {path: status for path, status in crawler.seen.items() if status not in {200, 302, 405}}
    assert strange == {}
    assert f"{PREFIX}/portal/webhooks/{uid}" in crawler.seen
    assert any(path.endswith("portal.css") for path in crawler.seen)
    assert len(crawler.seen) > 20
    page = client.get(f"/portal/webhooks/{uid}").content.decode()
    assert f'hx-get="{PREFIX}/portal/webhooks/{uid}"' in page
    token = re.findall(r'name="form_token" value="(\w+)"', page)[0]
    sent = client.post(f"/portal/webhooks/{uid}/redeliver-failed", {"form_token": token, "since": "24h"})
    assert sent["Location"].startswith(f"{PREFIX}/portal/replays/")
    PortalSession.objects.filter(pk=session.pk).update(revoked_at=timezone.now())
    assert f'href="{PREFIX}/portal/members"' in client.get("/portal/").content.decode()
    assert client.get("/portal/members")["Location"].startswith(f"{PREFIX}/v1/auth/login/?next={PREFIX}/portal/members")


# The response with a static file ends the request, and closes the database connection.
@pytest.mark.django_db(transaction=True)
def test_every_page_of_the_admin_and_of_the_api_leads_to_pages_under_the_prefix(
    receiver: Receiver, api: Caller, repository: Repository
) -> None:
    api.post("/v1/webhooks", {"url": receiver.url(), "events": ["*"]})
    api.post("/v1/events", {"type": "push", "data": {}, "repository": "widgets"})
    deliver()
    client = Client(SCRIPT_NAME=PREFIX)
    client.force_login(User.objects.create_superuser("root", password="a long password"))
    crawler = Crawler(client)

    for start in ("/v1/", "/admin/", "/"):
        crawler.visit(PREFIX + start, most=len(crawler.seen) + 150)

    assert crawler.astray == []
    assert {path: status for path, status in crawler.seen.items() if status not in {200, 301, 302, 405}} == {}
    assert crawler.seen[f"{PREFIX}/"] == 200
    assert len(crawler.seen) > 100


def test_who_is_not_logged_in_is_sent_to_the_login_under_the_prefix(db: None) -> None:
    client = Client(SCRIPT_NAME=PREFIX)

    assert client.get("/admin/").headers["Location"] == f"{PREFIX}/admin/login/?next={PREFIX}/admin/"
    assert resolve_url(settings.LOGIN_URL) == f"{PREFIX}/v1/auth/login/"
    assert resolve_url(settings.LOGIN_REDIRECT_URL) == f"{PREFIX}/v1/"


def test_the_health_checks_answer_under_the_prefix(db: None) -> None:
    client = Client(SCRIPT_NAME=PREFIX)

    assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [200, 200]


def test_every_address_in_an_answer_of_the_api_is_under_the_prefix(
    receiver: Receiver, api: Caller, repository: Repository
) -> None:
    api.client = Client(SCRIPT_NAME=PREFIX)
    hook = {"config": {"url": receiver.url("/hook")}}
    answers = [
        api.post("/v1/webhooks", {"url": receiver.url(), "events": ["*"]}),
        api.post("/v1/event-types", {"type": "build.finished"}),
        api.post("/v1/replays", {"type": "push"}),
        api.post("/v1/events", {"type": "push", "data": {}}),
        api.post("/v1/events", {"type": "push", "data": {}}),
        api.post("/repos/acme/widgets/hooks", hook),
        api.post("/api/v3/repos/acme/widgets/hooks", {"config": {"url": receiver.url("/other")}}),
    ]
    answers += [
        api.get(path)
        for path in (
            "/v1/", "/v1/events?limit=1", "/repos/acme/widgets", "/repos/acme/widgets/hooks?per_page=1", "/user",
            "/api/v3/repos/acme/widgets/hooks?per_page=1", "/api/v3", "/api/v3/users/acme",
        )
    ]  # fmt: skip

    assert [answer.status_code for answer in answers] == [201, 201, 202, 202, 202, 201, 201, *[200] * 8]
    told = [address for answer in answers for address in addresses_told(answer)]
    assert [address for address in told if not urlsplit(address).path.startswith(f"{PREFIX}/")] == []
    assert len(told) > 50


def addresses_told(answer: Any) -> list[str]:
    headers = [value for name, value in answer.headers.items() if name in {"Location", "Link"}]
    own = [header for header in headers if header.startswith("/")]
    return own + ADDRESS.findall(json.dumps(answer.json()) + " ".join(headers))


PATHS = [
    ("/hooks", "/hooks/v1/", "/v1/"),
    ("/hooks", "/v1/", "/v1/"),
    ("/hooks", "/hooks", "/"),
    ("/hooks", "/hooksmith", "/hooksmith"),
    ("/a/b", "/a/b/healthz", "/healthz"),
    ("", "/v1/", "/v1/"),
]


@pytest.mark.parametrize(("prefix", "path", "wanted"), PATHS)
def test_a_proxy_may_take_the_prefix_off_or_leave_it(prefix: str, path: str, wanted: str) -> None:
    asked: list[str] = []

    def application(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        del start_response
        asked.append(environ["PATH_INFO"])
        return []

    mounted(application, prefix=prefix)({"PATH_INFO": path}, None)

    assert asked == [wanted]
    assert without_prefix(path, prefix) == wanted


@pytest.mark.parametrize(("prefix", "path", "wanted"), PATHS)
def test_the_asgi_front_finds_the_same_paths(prefix: str, path: str, wanted: str) -> None:
    asked: list[str] = []

    async def front(scope: dict[str, Any], receive: Any, send: Any) -> None:
        del receive, send
        asked.append(path_of_scope(scope)[1])

    asyncio.run(mounted_front(front, prefix=prefix)({"type": "http", "path": path}, None, None))

    assert asked == [wanted]
