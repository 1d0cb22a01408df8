"""System checks of a project that has HookHub among its apps: what it needs, said before it is missed."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DEFAULT_DB_ALIAS, connections, router

from deliveries import defaults

# The apps whose tables are used together.
OURS = ("deliveries", "hookhub")
# The oldest version whose features the statements use.
MIN_POSTGRESQL = 150_000


@register
def check_apps(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Report that only one of the two apps is installed."""
    del app_configs
    missing = [name for name in OURS if not apps.is_installed(name)]
    hint = 'Have both in it: INSTALLED_APPS += ["deliveries", "hookhub"].'
    return [Error(f"{name!r} is not in INSTALLED_APPS.", hint=hint, id="hookhub.E001") for name in missing]


@register(Tags.models)
def check_database(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Report a default database that is none of PostgreSQL or commits nothing, and a router to any other database."""
    del app_configs
    vendor = connections[DEFAULT_DB_ALIAS].vendor
    if vendor != "postgresql":
        return [
            Error(
                f"HookHub needs PostgreSQL, and DATABASES[{DEFAULT_DB_ALIAS!r}] is {vendor}.",
                hint="Its queue, like the promise to deliver what is committed, is made of what PostgreSQL does.",
                id="hookhub.E002",
            )
        ]
    return [*_without_commits(), *_elsewhere()]


def _without_commits() -> Iterator[CheckMessage]:
    if not connections[DEFAULT_DB_ALIAS].settings_dict.get("AUTOCOMMIT", True):
        yield Error(
            f"DATABASES[{DEFAULT_DB_ALIAS!r}]['AUTOCOMMIT'] is False: nothing that HookHub stores would be committed.",
            hint="Leave it out, and switch autocommit off where the project needs that: transaction.set_autocommit().",
            id="hookhub.E005",
        )


def _elsewhere() -> Iterator[CheckMessage]:
    for label in filter(apps.is_installed, OURS):
        for model in apps.get_app_config(label).get_models():
            found = {router.db_for_read(model), router.db_for_write(model)}
            if found != {DEFAULT_DB_ALIAS} or not router.allow_migrate_model(DEFAULT_DB_ALIAS, model):
                yield Error(
                    f"DATABASE_ROUTERS put {model._meta.label} into another database than {DEFAULT_DB_ALIAS!r}, "
                    "or read it from there.",
                    hint=(
                        f"HookHub's tables must be in {DEFAULT_DB_ALIAS!r}: its statements are not routed, and an "
                        "event is published in the transaction of its caller. Let the routers return None for the "
                        "apps 'deliveries' and 'hookhub'; publish about what is stored in that database."
                    ),
                    obj=model,
                    id="hookhub.E003",
                )
                return


@register(Tags.database)
def check_server(databases: Sequence[str] | None, **_: object) -> list[CheckMessage]:
    """Report a PostgreSQL that is too old."""
    connection: Any = connections[DEFAULT_DB_ALIAS]
    if DEFAULT_DB_ALIAS not in (databases or ()) or connection.vendor != "postgresql":
        return []
    if connection.pg_version >= MIN_POSTGRESQL:
        return []
    found = f"HookHub needs PostgreSQL 15, and this is {connection.pg_version // 10_000}."
    return [Error(found, id="hookhub.E004")]


@register
def check_names(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Report settings whose names are none: the service's variable HOOKHUB_RETENTION_DAYS is HOOKHUB_RETENTION here."""
    del app_configs
    if apps.is_installed("hookhub.service"):
        return []
    known = {*vars(defaults), *defaults.DERIVED}
    unknown = [name for name in dir(settings) if name.startswith("HOOKHUB_") and name not in known]
    return [
        checks.Warning(
            f"{name} is no setting of HookHub, and does nothing.", hint=_similar(name, known), id="hookhub.W002"
        )
        for name in unknown
    ]


def _similar(name: str, known: set[str]) -> str | None:
    found = get_close_matches(name, known, n=1)
    return f"Is it {found[0]}?" if found else None


@register(Tags.security, deploy=True)
def check_public_url(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Report that mails and alerts cannot say where HookHub is."""
    del app_configs
    if settings.HOOKHUB_PUBLIC_URL:
        return []
    hint = 'For example HOOKHUB_PUBLIC_URL = "https://example.org/webhooks", where hookhub.urls is included.'
    return [
        checks.Warning(
            "HOOKHUB_PUBLIC_URL is not set: links in e-mails and alerts lead nowhere.", hint=hint, id="hookhub.W001"
        )
    ]
