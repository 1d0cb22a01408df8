"""HookHub from its wheel among the apps of a Django project (tests/shop), on the oldest and the newest Django."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import psycopg
import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from hookhub.procfile import ROOT
from hookhub.service.connections import broker
from testbed.processes import wait_for
from tests.receiver import Receiver
from tests.wheel import NEWEST, OLDEST, Kind, environment

pytestmark = pytest.mark.acceptance

SHOP = ROOT / "tests" / "shop"
# None that could make a package of this environment importable, or set what the shop leaves out.
INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH")
CELERY = ["celery", "--quiet", "-A", "shop", "worker", "--concurrency", "2", "--without-gossip", "--without-mingle"]
OWN = ["python", "manage.py", "hookhub_worker", "--processes", "2"]
SOLD = ["order.alone", "order.awaited", "order.first", "order.once", "order.paid", "order.second"]


class Shop:
    """The project in one environment, with a database of its own."""

    def __init__(self, kind: Kind, *, worker: list[str], receiver: Receiver, **variables: str) -> None:
        self.kind, self.worker, self.receiver = kind, worker, receiver
        self.programs = environment(kind)
        self.database = f"shop_{uuid4().hex}"
        self.server = {name: str(value) for name, value in conninfo_to_dict(settings.DATABASE_URL).items()}
        self.variables = {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONWARNINGS": "error::DeprecationWarning:hookhub,error::DeprecationWarning:deliveries",
            "PGHOST": self.server["host"],
            "PGPORT": self.server.get("port", "5432"),
            "PGUSER": self.server["user"],
            "SHOP_DATABASE": self.database,
            # Receivers on this machine are allowed.
            "SHOP_DEBUG": "1",
            **variables,
        }
        self.key = ""

    def run(self, *command: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        """Run a program in the project's folder."""
        return subprocess.run(
            [str(self.programs / command[0]), *command[1:]], cwd=SHOP, env={**self.variables, **variables},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    def manage(self, *arguments: str, **variables: str) -> str:
        """Run a management command, and return what it says."""
        done = self.run("python", "manage.py", *arguments, **variables)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    @cached_property
    def acting(self) -> "subprocess.Popen[str]":
        """The process that does for the shop what ``act`` names."""
        return subprocess.Popen(
            [str(self.programs / "python"), "-m", "shop.acts"], cwd=SHOP, env=self.variables,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def act(self, name: str, *arguments: object) -> Any:
        """Return the outcome of what the shop is to do, one of ``shop.acts``."""
        assert self.acting.stdin is not None
        assert self.acting.stdout is not None
        self.acting.stdin.write(json.dumps([name, *arguments]) + "\n")
        return json.loads(self.acting.stdout.readline())

    def made(self) -> list[int]:
        """Return the numbers of the orders that the receiver has been told of."""
        bodies = [json.loads(request.body) for request in list(self.receiver.received)]
        return [body["data"] for body in bodies if body["type"] == "order.made"]

    @contextmanager
    def working(self, log: Path) -> Iterator["subprocess.Popen[bytes]"]:
        """Run the worker, and require that it stops cleanly."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self.programs / self.worker[0]), *self.worker[1:]], cwd=SHOP, env=self.variables,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                # As a service manager does: to all of its processes.
                os.killpg(process.pid, signal.SIGTERM)
            code = process.wait(90)
        assert code == 0, log.read_text()

    def outcomes(self) -> list[str]:
        """Return the outcomes of all attempts on record."""
        with psycopg.connect(settings.DATABASE_URL, dbname=self.database) as link:
            return [outcome for (outcome,) in link.execute("SELECT outcome FROM hookhub_attempt")]

    def admin_connection(self) -> "psycopg.Connection[Any]":
        return psycopg.connect(settings.DATABASE_URL, autocommit=True)


@contextmanager
def running_shop(kind: Kind, *, worker: list[str], variables: Mapping[str, str]) -> Iterator[Shop]:
    with Receiver() as receiver:
        shop = Shop(kind, worker=worker, receiver=receiver, **variables)
        with shop.admin_connection() as link:
            link.execute(f"CREATE DATABASE {shop.database}")
        try:
            with shop.acting:
                shop.key = shop.act("begin", receiver.url("/hook"))
                yield shop
        finally:
            with shop.admin_connection() as link:
                link.execute(f"DROP DATABASE {shop.database} WITH (FORCE)")


@pytest.fixture(scope="module", params=["django-5.2-celery-use-tz", "django-6-own-worker-without-redis-without-use-tz"])
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    if request.param.startswith("django-5.2"):
        variables = {"SHOP_USE_TZ": "1", "SHOP_BROKER": broker(settings.REDIS_URL)}
        with running_shop(OLDEST, worker=CELERY, variables=variables) as made:
            yield made
    else:
        with running_shop(NEWEST, worker=OWN, variables={"SHOP_USE_TZ": "0"}) as made:
            yield made


def test_the_checks_find_nothing_and_no_migration_is_missing(shop: Shop) -> None:
    deployed = shop.manage("check", "--deploy", "--database", "default", SHOP_DEBUG="0")

    assert "hookhub.E" not in deployed
    assert deployed.count("hookhub.W") == deployed.count("hookhub.W001") == 1
    assert shop.act("look_for_changes") == "No changes detected\n"
    assert shop.act("find", "celery") == (shop.kind is OLDEST)


def test_what_is_rolled_back_is_not_published_and_what_is_committed_is_delivered(shop: Shop, tmp_path: Path) -> None:
    with shop.working(tmp_path / "worker.log"):
        sold = shop.act("sell")
        arrived = shop.receiver.wait_for(len(SOLD), seconds=90)
        wait_for(lambda: len(shop.outcomes()) == len(SOLD), "the attempts on record")

    assert sold == {"repeats": [False, True], "stored": SOLD, "orders": ["paid"]}
    bodies = [json.loads(request.body) for request in arrived]
    assert sorted(body["type"] for body in bodies) == SOLD
    # Neither the shop's time zone nor USE_TZ moves a time.
    assert all(body["timestamp"].endswith("Z") for body in bodies)
    assert shop.outcomes() == ["delivered"] * len(SOLD)


def test_what_is_invalid_is_refused_with_its_field_and_the_transaction_goes_on(shop: Shop) -> None:
    assert shop.act("refuse") == [
        ["InvalidEvent", "type"],
        ["InvalidEvent", "data"],
        ["InvalidEvent", "data"],
        ["InvalidEvent", "data"],
        ["UnknownOrganization", "organization"],
        ["UnknownOrganization", "organization"],
        ["InvalidEvent", "repository"],
        ["InvalidEvent", "id"],
        ["InvalidEvent", "timestamp"],
        ["InvalidEvent", "id"],
        ["IdempotencyKeyReused", "id"],
        ["events[1].data"],
    ]


def test_under_its_prefix_hookhub_is_a_site_of_its_own(shop: Shop) -> None:
    shown = shop.act("visit", shop.key)

    assert shown == {
        "root": "http://testserver/webhooks/v1/webhooks",
        "created": [201, True],
        "created_at": True,
        "published": 202,
        "no key": "unauthenticated",
        "no path": "not_found",
        "no slash": "/webhooks/",
        "no json": 400,
        "traced": True,
        "no line": "not_found",
        # Beyond DATA_UPLOAD_MAX_MEMORY_SIZE.
        "large": [[413, "too_large"]] * 2,
        "GitHub": "Requires authentication",
        "hub": 422,
        "health": 200,
        "page": 1,
        "document": ["HookHub", "/webhooks/", True],
        "docs": [200, 200],
        "docs file": 404,
        "portal": [[["/webhooks/portal/", 302]], True],
        "policy": True,
        "stranger": "/login/?next=/webhooks/portal/members",
        "member": [200, 200],
        "forged": 403,
        "after": ["/", "/", "/webhooks/portal/members", "home"],
        "the shop": [302, None],
    }


def test_a_server_that_is_read_only_is_unavailable(shop: Shop) -> None:
    assert shop.act("visit_a_read_only_server", shop.key) == [[503, "1"], [503, "1"]]


def test_the_pages_are_in_the_shops_own_admin(shop: Shop) -> None:
    shown = shop.act("administrate")

    assert len(shown["opened"]) == 13
    pages = {name: (status, has_style) for name, (status, has_style, *_) in shown["opened"].items()}
    assert set(pages.values()) == {(200, True)}, pages
    # An attempt's page is a part of its delivery's.
    assert {status for page in shown["opened"].values() for status in page[2:]} <= {200, 302}
    assert shown["found"] > 0
    assert shown["index"] == [True, False]
    # Not in a cookie of the shop's, although it keeps messages there.
    assert shown["key"] == [False, False, 1]
    assert shown["actor"] == ["api_key.created", "person", "boss@example.org"]


def test_the_shops_own_tests_pass_also_those_after_which_all_tables_are_emptied(shop: Shop) -> None:
    said = shop.manage("test", "orders")

    assert "Ran 3 tests" in said


def test_a_worker_that_is_told_to_stop_waits_for_what_is_in_flight(shop: Shop, tmp_path: Path) -> None:
    shop.receiver.received.clear()
    shop.receiver.delay = 2.0
    with shop.working(tmp_path / "worker.log"):
        shop.act("order", 1)
        wait_for(shop.made, "the request", seconds=90)
    shop.receiver.delay = 0.0

    assert (shop.made(), set(shop.outcomes())) == ([0], {"delivered"})


def test_a_worker_outlives_its_processes_and_its_connections(shop: Shop, tmp_path: Path) -> None:
    shop.receiver.received.clear()
    with shop.working(tmp_path / "worker.log") as worker:
        shop.act("order", 1)
        wait_for(shop.made, "the first request", seconds=90)
        for child in psutil.Process(worker.pid).children(recursive=True):
            child.kill()
        with shop.admin_connection() as link:
            link.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [shop.database])
        shop.act("order", 20)
        wait_for(lambda: set(shop.made()) == set(range(20)), "the other requests", seconds=90)


def test_a_second_database_works_unless_hookhubs_tables_are_in_it(shop: Shop) -> None:
    shop.manage("check", SHOP_ARCHIVE="1")
    refused = shop.run("python", "manage.py", "check", SHOP_ARCHIVE="1", SHOP_ROUTER="shop.routers.EverythingElse")

    assert refused.returncode == 1
    assert "(hookhub.E003) DATABASE_ROUTERS put deliveries." in refused.stderr
    assert "another database than 'default'" in refused.stderr
