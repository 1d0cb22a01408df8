"""Fixtures for all tests: a receiver, an organization with a repository, API clients, and a fixed time."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

import hypothesis
import psycopg
import pytest
from _pytest.runner import runtestprotocol
from django.db import connection
from django.test import Client, TransactionTestCase, override_settings
from freezegun import api as freezing
from pytest_django import DjangoDbBlocker, Settings
from redis import Redis

from deliveries.models import Organization, Repository
from deliveries.sending.sender import Sender, make_sender
from hookhub.embedded.valkey import health_error, valkey_binary
from hookhub.publishing.redis_stream.consumer import dead_letter_stream
from testbed.processes import wait_for
from tests import collected
from tests.api import Caller
from tests.collected import in_order
from tests.made_once import template_database
from tests.portal import visitor
from tests.receiver import Receiver
from tests.story import Forge, ReadOnly, rows_for_several_tests
from tests.tables import table_of

# jsonschema imports this package if it finds it, which takes more than a second; only the tools of a developer need it.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# At each start, freezegun lists the attributes of each module to see whether there are others. Their number says as
# much.
freezing._get_module_attributes_hash = lambda module: f"{id(module)}-{len(getattr(module, '__dict__', ()))}"

# For the hundreds of workers that the tests start, except for those that are to find only what is installed.
os.environ["PYTHONPATH"] = str(Path(__file__).parent / "unused")

# Tables whose rows come from the code.
KEPT = {"auth_permission", "django_content_type", "django_migrations"}

# `make test` tries the same examples each time; `make hunt` draws new ones.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis.settings.register_profile("new", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_pycollect_makeitem(collector: pytest.Module, name: str, obj: object) -> pytest.Function | None:
    """Let a process of xdist run a table of cases as one test."""
    is_for_xdist = hasattr(collector.config, "workerinput") or collector.config.pluginmanager.hasplugin(
        collected.__name__
    )
    return table_of(collector, name, obj) if is_for_xdist else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order tests for the processes of xdist."""
    items[:] = in_order(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Let a process of xdist report a test once, and not its start, its setup and its teardown, unless they failed.

    Sending and reading reports takes a tenth of the time of short tests, and nothing shows those.
    """
    if not hasattr(item.config, "workerinput") or item.config.option.durations is not None:
        return None
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.fixture(scope="session", autouse=True)
def quick_settings() -> Iterator[None]:
    """Replace settings that are slow on purpose, or once per process, and took most of the tests' time.

    Password hashing is slow to stop guessing. Every test client creates the middlewares anew, and WhiteNoise's would
    list all static files each time; with autorefresh it looks up each file on request.
    """
    with override_settings(
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"], WHITENOISE_AUTOREFRESH=True
    ):
        yield


def nothing() -> None:
    """Stand for a fixture that pytest-django gives to every test, for marks and sites that no test here uses.

    Five of them take a third of the time of a short test.
    """


_django_setup_unittest = pytest.fixture(scope="session", autouse=True)(nothing)
_django_set_urlconf = pytest.fixture(scope="session", autouse=True)(nothing)
_django_isolate_apps = pytest.fixture(scope="session", autouse=True)(nothing)
_django_clear_site_cache = pytest.fixture(scope="session", autouse=True)(nothing)
_template_string_if_invalid_marker = pytest.fixture(scope="session", autouse=True)(nothing)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker) -> None:
    """Let each process copy a database that has all tables, because to create them one by one takes seconds."""
    with django_db_blocker.unblock():
        connection.settings_dict["TEST"]["TEMPLATE"] = template_database()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let transactional tests empty all tables afterwards, including the audit log, whose trigger forbids it.

    Only tables that have pages are emptied: those of rows that were rolled back would change the plans of later
    statements. Django's way empties all, and then creates the rows about its models anew, which took more time than
    most of these tests.
    """
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute("ALTER TABLE hookhub_audit_entry DISABLE TRIGGER audit_log_is_not_emptied")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _: empty_tables())
        yield


def empty_tables() -> None:
    """Delete the rows of all tables, except those about Django's models and migrations."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT name FROM (VALUES {', '.join(tables_of_tests())}) AS t (name, size) WHERE size > 0")
        if names := [name for (name,) in cursor.fetchall()]:
            cursor.execute(f"TRUNCATE {', '.join(names)} CASCADE")


@cache
def tables_of_tests() -> list[str]:
    """Return for each table its name and its size, as SQL."""
    names = set(connection.introspection.django_table_names(only_existing=True, include_views=False))
    return [f"('{name}', pg_relation_size('{name}'))" for name in sorted(names - KEPT)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def new_files(db: None) -> None:
    """Let tables and indexes begin anew: pages that earlier tests have left in them would change the plans."""
    tables = [name for name in connection.introspection.table_names() if name.startswith("hookhub_")]
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")


@pytest.fixture(scope="session")
def now() -> datetime:
    """Return noon of an ordinary day."""
    return datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = make_sender(slots=64)
    yield made
    made.close()


@pytest.fixture(scope="module")
def rows_of_the_module(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Let fixtures of the same scope create rows, which all tests of the module get unchanged."""
    with django_db_blocker.unblock(), rows_for_several_tests():
        yield


@pytest.fixture
def forge(db: None, receiver: Receiver) -> Forge:
    """Return an organization with a repository, and helpers to create webhooks and events."""
    return Forge.make(receiver)


@pytest.fixture
def caller(forge: Forge) -> Caller:
    """Return a client with all permissions in the forge's organization."""
    return Caller.of(forge.organization)


@pytest.fixture
def owner(caller: Caller) -> Client:
    """Return a browser with a session of the portal, for the forge's organization, that may change things."""
    return visitor(caller, role="manage")


@pytest.fixture
def organization(db: None) -> Organization:
    return Organization.objects.create(slug="acme")


@pytest.fixture
def repository(organization: Organization) -> Repository:
    return Repository.objects.create(organization=organization, name="widgets")


@pytest.fixture
def api(organization: Organization) -> Caller:
    """Return a client with all permissions in the organization."""
    return Caller.of(organization)


@pytest.fixture
def other(db: None) -> Caller:
    """Return a client with all permissions in another organization."""
    return Caller.of(Organization.objects.create(slug="other"))


@pytest.fixture
def operator(db: None) -> Caller:
    """Return a client of the operator, which may act for every organization."""
    return Caller.of(None)


@pytest.fixture
def stream(settings: Settings) -> Iterator[str]:
    """Return the name of a stream in the real Valkey, unique to this test."""
    settings.HOOKHUB_STREAM = f"test:{uuid4().hex}"
    url = settings.REDIS_URL
    yield settings.HOOKHUB_STREAM
    with Redis.from_url(url) as client:
        client.delete(settings.HOOKHUB_STREAM, dead_letter_stream(settings.HOOKHUB_STREAM))


@pytest.fixture
def own_valkey(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """Run a Valkey of this test's own, for what changes a whole server, which all processes of a run share."""
    path = tmp_path / "valkey.sock"
    settings.REDIS_URL = f"unix://{path}"
    options = ["--unixsocket", path, "--port", "0", "--save", "", "--dir", tmp_path]
    with subprocess.Popen([valkey_binary(), *options], stdout=subprocess.DEVNULL) as it:
        try:
            wait_for(lambda: health_error(path) is None, "Valkey")
            yield
        finally:
            it.kill()


@pytest.fixture
def read_only(transactional_db: None) -> Iterator[ReadOnly]:
    """Return a switch that makes the database in the real PostgreSQL read-only, for existing and new connections."""
    connection.ensure_connection()
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as link:
        switch = ReadOnly(link)
        yield switch
        switch.off()
    # Some tests leave this thread's connection read-only.
    connection.close()
