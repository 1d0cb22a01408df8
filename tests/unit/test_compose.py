"""docker-compose.yml: no service starts without its passwords, listens beyond this host, or has needless privileges."""

import re
from typing import Any

import pytest
import yaml

from hookhub.procfile import ROOT

COMPOSE = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
SECRETS = ("POSTGRES_PASSWORD", "VALKEY_PASSWORD", "HOOKHUB_SECRET_KEY", "HOOKHUB_ENCRYPTION_KEYS")
OPTIONAL = {"VALKEY_PRODUCER_PASSWORD", "HOOKHUB_PORT"}


def test_the_services_are_those_that_a_deployment_needs() -> None:
    assert set(SERVICES) == {"postgres", "valkey", "migrate", "web", "worker", "proxy"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_has_no_capability_no_new_privilege_and_no_file_to_write(name: str) -> None:
    service = SERVICES[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service
    assert any(mount.startswith("/tmp") for mount in service["tmpfs"])
    # A third-party image runs as the user set here; our own image sets a user itself.
    assert service.get("user") not in {None, "root", "0"} if "image" in service else "build" in service


def test_the_proxy_alone_is_reached_from_outside_and_from_this_host_only() -> None:
    ports = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert ports == {"proxy": ["127.0.0.1:${HOOKHUB_PORT:-8000}:8080"]}
    assert SERVICES["postgres"]["networks"] == SERVICES["valkey"]["networks"] == ["inside"]
    assert yaml.safe_load(COMPOSE)["networks"]["inside"] == {"internal": True}


@pytest.mark.parametrize("name", SECRETS)
def test_compose_refuses_to_start_without_a_secret_and_says_where_it_belongs(name: str) -> None:
    used = re.findall(rf"\$\{{{name}[^}}]*\}}", COMPOSE)

    assert used
    assert set(used) == {f"${{{name}:?set {name} in .env}}"}
    # It is in the example, without a value.
    assert re.search(rf"^{name}=$", (ROOT / "docs" / "example.env").read_text(), re.MULTILINE)


def test_no_password_is_written_in_the_file() -> None:
    assert re.findall(r"://\w+:(?!\$\{)[^@\s]+@", COMPOSE) == []
    assert re.findall(r"PASSWORD: (?!\$\{)\S+", COMPOSE) == []


def test_every_image_is_an_exact_version_that_the_environment_can_replace_by_a_digest() -> None:
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    images.append(SERVICES["web"]["build"]["args"]["PYTHON_IMAGE"])

    assert len(images) == 4
    for image in images:
        assert re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z/]+:\d+\.\d+(\.\d+)?[\w-]*\}", image), image
    default = images[-1].partition(":-")[2].rstrip("}")
    assert f"ARG PYTHON_IMAGE={default}\nFROM ${{PYTHON_IMAGE}}\n" in (ROOT / "Dockerfile").read_text()


def test_every_variable_of_the_file_is_in_the_example() -> None:
    named = set(re.findall(r"\$\{(\w+)", COMPOSE)) - OPTIONAL
    example = (ROOT / "docs" / "example.env").read_text()

    assert {name for name in named if not re.search(rf"^(# )?{name}=", example, re.MULTILINE)} == set()


def test_the_image_runs_as_a_user_without_rights() -> None:
    assert re.search(r"^USER 10001$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)


def test_the_proxy_takes_what_hookhub_takes_and_replaces_what_hookhub_believes() -> None:
    proxy = (ROOT / "deploy" / "nginx.conf").read_text()

    assert "client_max_body_size 33m;" in proxy
    assert "proxy_request_buffering on;" in proxy
    for header in ("Host $http_host", "X-Forwarded-For $remote_addr", "X-Forwarded-Proto $asked_by", 'Forwarded ""'):
        assert f"proxy_set_header {header};" in proxy
