"""The front page: for people whether all is well and where to go; programs are sent on to the API."""

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from deliveries.db import sql
from deliveries.workers import Heartbeat
from hookhub.http import documentation, readiness
from tests.pages import Page, read_policy

pytestmark = pytest.mark.django_db

PERSON = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def shown(client: Client) -> str:
    answer = client.get("/", headers=PERSON)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_person_reads_whether_all_is_well_and_where_to_go(client: Client) -> None:
    Heartbeat("a worker").beat(now=sql.database_now())

    page = shown(client)

    assert "All is well: events are accepted, and 1 worker delivers them." in page
    for address in ("/admin/", "/v1/", "/v1/docs"):
        assert f'href="{address}"' in page
    assert page.count("curl http") == 3


@pytest.mark.parametrize(("is_built", "development", "links"), [(True, True, 1), (False, True, 0), (True, False, 0)])
def test_the_documentation_is_linked_where_it_is_served(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any,
    is_built: bool, development: bool, links: int,
) -> None:  # fmt: skip
    settings.HOOKHUB_DEVELOPMENT = development
    monkeypatch.setattr(documentation, "SITE", tmp_path if is_built else tmp_path / "nowhere")

    assert shown(client).count('href="/docs/"') == links


def test_without_a_worker_it_says_how_to_start_one(client: Client) -> None:
    assert "No worker has started yet. Events are only stored." in shown(client)


def test_without_a_database_it_says_that_nothing_is_accepted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("the server is gone")

    monkeypatch.setattr(readiness.sql, "require_writable", away)

    assert "Events are not accepted: the database is unavailable or read-only." in shown(client)


@pytest.mark.parametrize("accept", ["*/*", "application/json", ""])
def test_a_program_is_sent_on_to_the_api(client: Client, accept: str) -> None:
    answer = client.get("/", headers={"Accept": accept})

    assert (answer.status_code, answer["Location"]) == (302, "/v1/")


def test_nothing_can_be_posted_to_it(client: Client) -> None:
    assert client.post("/", headers=PERSON).status_code == 405


def test_it_keeps_its_policy_and_is_never_cached(client: Client, admin_client: Client, now: datetime) -> None:
    for one, link in ((client, "Log in"), (admin_client, "Admin")):
        answer = one.get("/", headers=PERSON)
        page = Page(read_policy(answer["Content-Security-Policy"]), origin="http://testserver")
        page.feed(answer.content.decode())

        assert page.breaches == []
        assert "no-store" in answer["Cache-Control"]
        assert f">{link}</a>" in answer.content.decode()
