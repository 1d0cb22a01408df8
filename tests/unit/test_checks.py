"""What `manage.py check` says of a project that HookHub cannot run in."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import router
from pytest_django import Settings

from deliveries import checks


def ids(found: list[Any]) -> list[str]:
    return [each.id for each in found]


def test_a_project_with_both_apps_in_postgresql_is_fine() -> None:
    assert checks.check_apps(None) == []
    assert checks.check_database(None) == []
    assert checks.check_server(None) == []


def test_one_app_without_the_other_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "hookhub")

    assert ids(checks.check_apps(None)) == ["hookhub.E001"]


def test_another_database_than_postgresql_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "connections", {"default": SimpleNamespace(vendor="sqlite")})

    [error] = checks.check_database(None)

    assert (error.id, "sqlite" in error.msg) == ("hookhub.E002", True)
    assert checks.check_server(["default"]) == []


def test_a_database_without_autocommit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(checks.connections["default"].settings_dict, "AUTOCOMMIT", False)

    [error] = checks.check_database(None)

    assert (error.id, "'AUTOCOMMIT'" in error.msg) == ("hookhub.E005", True)


@pytest.mark.parametrize("method", ["db_for_read", "db_for_write"])
def test_a_router_that_moves_or_reads_the_tables_elsewhere_is_one_error(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(router, method, lambda model: "replica" if model._meta.app_label == "hookhub" else "default")

    [error] = checks.check_database(None)

    assert (error.id, "hookhub." in error.msg) == ("hookhub.E003", True)


def test_a_router_that_forbids_the_tables_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router, "allow_migrate_model", lambda alias, model: False)

    assert set(ids(checks.check_database(None))) == {"hookhub.E003"}


@pytest.mark.parametrize(("version", "found"), [(140_012, ["hookhub.E004"]), (150_000, []), (180_001, [])])
def test_a_postgresql_that_is_too_old_is_an_error(
    monkeypatch: pytest.MonkeyPatch, version: int, found: list[str]
) -> None:
    server = SimpleNamespace(vendor="postgresql", pg_version=version)
    monkeypatch.setattr(checks, "connections", {"default": server})

    assert ids(checks.check_server(["default"])) == found
    assert checks.check_server(["other"]) == []


def test_without_a_public_url_a_deployment_is_warned(settings: Any) -> None:
    settings.HOOKHUB_PUBLIC_URL = ""
    assert ids(checks.check_public_url(None)) == ["hookhub.W001"]
    settings.HOOKHUB_PUBLIC_URL = "https://example.org/webhooks"
    assert checks.check_public_url(None) == []


def test_a_setting_whose_name_is_none_is_a_warning_of_a_project(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.HOOKHUB_RETENTION_DAYS = 30
    assert checks.check_names(None) == []
    monkeypatch.setattr(apps, "is_installed", lambda name: name != "hookhub.service")

    found = {warning.msg.split()[0]: warning.hint for warning in checks.check_names(None)}

    # Those of the service, too, which these tests run.
    assert found["HOOKHUB_RETENTION_DAYS"] == "Is it HOOKHUB_RETENTION?"
    assert "HOOKHUB_TIMEOUT" not in found
    assert "HOOKHUB_ENCRYPTION_KEYS" not in found
