"""The defaults of the settings: a project that sets none of them has all that the code reads."""

import re
from datetime import timedelta
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured

from deliveries import defaults
from hookhub.procfile import ROOT

# Read by the service's own server, and by commands that only the service has.
OF_THE_SERVICE = ("hookhub/service/", "hookhub/server/", "hookhub/embedded/", "hookhub/sso/")


def project(**given: Any) -> Any:
    """Return the settings of a project that sets these and what Django sets, with the defaults."""
    settings = SimpleNamespace(
        **{"SECRET_KEY": "s", "SECRET_KEY_FALLBACKS": [], "DEBUG": False, "SESSION_COOKIE_SECURE": True, **given}
    )
    defaults.fill(settings)  # type: ignore[arg-type]
    return settings


def read_by_the_code() -> set[str]:
    names = set()
    for path in [*ROOT.glob("deliveries/**/*.py"), *ROOT.glob("hookhub/**/*.py")]:
        if not str(path.relative_to(ROOT)).startswith(OF_THE_SERVICE):
            names |= set(re.findall(r"\bsettings\.((?:HOOKHUB|REDIS)_\w+)", path.read_text()))
    return names


def test_a_project_that_sets_nothing_has_every_setting_that_the_code_reads() -> None:
    names = read_by_the_code()

    assert len(names) > 55
    assert {name for name in names if not hasattr(project(), name)} == set()


def test_what_a_project_sets_is_kept() -> None:
    settings = project(HOOKHUB_SLOTS=3, HOOKHUB_ENCRYPTION_KEYS=("mine",), REDIS_URL="redis://mine")

    assert (settings.HOOKHUB_SLOTS, settings.HOOKHUB_ENCRYPTION_KEYS) == (3, ("mine",))
    assert (settings.REDIS_URL, settings.HOOKHUB_BEHIND_TLS_PROXY) == ("redis://mine", True)


def test_a_replaced_secret_key_still_decrypts_as_long_as_it_is_a_fallback() -> None:
    before, after = project(SECRET_KEY="old"), project(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"])

    assert after.HOOKHUB_ENCRYPTION_KEYS[1:] == before.HOOKHUB_ENCRYPTION_KEYS
    assert len({*after.HOOKHUB_ENCRYPTION_KEYS, after.HOOKHUB_DEPLOYMENT_ID, before.HOOKHUB_DEPLOYMENT_ID}) == 4
    for key in after.HOOKHUB_ENCRYPTION_KEYS:
        Fernet(key)


@pytest.mark.parametrize(
    ("broker", "url"),
    [
        ("redis://:secret@cache:6379/1", "redis://:secret@cache:6379/1"),
        ("rediss://cache/0", "rediss://cache/0"),
        ("redis+socket:///run/redis.sock?virtual_host=3", "unix:///run/redis.sock?db=3"),
        ("redis+socket:///run/redis.sock", "unix:///run/redis.sock?db=0"),
        ("sentinel://a;sentinel://b", ""),
        ("redis://a;redis://b", ""),
        ("amqp://guest@rabbit//", ""),
        ("sqs://", ""),
        (None, ""),
    ],
)
def test_the_redis_of_a_projects_celery_is_used(broker: str | None, url: str) -> None:
    assert url == project(CELERY_BROKER_URL=broker).REDIS_URL


@pytest.mark.parametrize(
    ("timeout", "lease", "longest"),
    [(15, 60, 30), (15, 17, 15), (30, 32, 30), (15, 20, 18), (31, 60, None), (15, 16, None)],
)
def test_no_timeout_exceeds_the_lease(timeout: int, lease: int, longest: int | None) -> None:
    given = {"HOOKHUB_TIMEOUT": timedelta(seconds=timeout), "HOOKHUB_LEASE": timedelta(seconds=lease)}
    if longest is None:
        with pytest.raises(ImproperlyConfigured, match="HOOKHUB_"):
            project(**given)
    else:
        assert timedelta(seconds=longest) == project(**given).HOOKHUB_MAX_TIMEOUT


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("HOOKHUB_TIMEOUT", 10, "must be a timedelta above 0, but it is 10."),
        ("HOOKHUB_LEASE", "60", "must be a timedelta above 0, but it is of the type str."),
        ("HOOKHUB_RETENTION", timedelta(0), "must be a timedelta above 0, but it is datetime.timedelta(0)."),
        ("HOOKHUB_RETRY_SCHEDULE", [60, 300], "must be a list of timedeltas, none below 0"),
        ("HOOKHUB_RETRY_SCHEDULE", [timedelta(seconds=-1)], "must be a list of timedeltas, none below 0"),
        ("HOOKHUB_WORKER_PROCESSES", "2", "must be a whole number from 1 to 2147483647, but it is of the type str."),
        ("HOOKHUB_WORKER_PROCESSES", 10**20, f"must be a whole number from 1 to 2147483647, but it is {10**20}."),
        ("HOOKHUB_SLOTS", 0, "must be a whole number from 1 to"),
        ("HOOKHUB_MAX_HOPS", True, "must be a whole number from 0 to"),
        ("HOOKHUB_HTTPS_ONLY", "0", "must be True or False"),
        ("HOOKHUB_ALLOWED_NETWORKS", ["10.0.0.0/8"], "must be a list of networks: ipaddress.ip_network("),
        ("HOOKHUB_ALLOWED_HOSTS", "ci.internal", "must be a list of strings, but it is of the type str."),
        ("HOOKHUB_ENCRYPTION_KEYS", "a secret", "must be a list of strings, but it is of the type str."),
        ("HOOKHUB_PUBLIC_URL", None, "must be a string"),
    ],
)
def test_a_setting_of_another_type_is_refused_by_its_name(name: str, value: object, expected: str) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        project(**{name: value})

    assert str(caught.value).startswith(f"{name} {expected}")


def test_lists_sets_and_paths_are_taken() -> None:
    settings = project(
        HOOKHUB_RETRY_SCHEDULE=[timedelta(0)],
        HOOKHUB_ALLOWED_HOSTS=["ci.internal"],
        HOOKHUB_ALLOWED_NETWORKS=[ip_network("10.0.0.0/8")],
        HOOKHUB_CA_BUNDLE=ROOT / "ca.pem",
        HOOKHUB_MAX_HOPS=0,
    )

    assert settings.HOOKHUB_ALLOWED_HOSTS == ["ci.internal"]


def test_what_is_derived_is_what_no_default_stands_for() -> None:
    made = {name for name in vars(project()) if name.startswith("HOOKHUB_")}

    assert made - vars(defaults).keys() == defaults.DERIVED
