"""The git hook against HookHub itself: from a repository that does not exist to its first event."""

import json
import os
import sys
from io import StringIO
from pathlib import Path
from unittest import mock

import pytest
from django.core.management import call_command
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer

from deliveries.models import Event, Organization, Repository
from hookhub.models import ApiKey, Scope
from tests.integration.test_post_receive import ENVIRONMENT, Host, make_host, wait_for_problem

pytestmark = pytest.mark.django_db(transaction=True)


def run(host: Host, key: str, url: str, *more: str) -> str:
    out = StringIO()
    arguments = ["--install", str(host.bare), "--url", url, "--repository", "acme/widgets", "--python", sys.executable]
    with mock.patch.dict(os.environ, {**ENVIRONMENT, "HOOKHUB_API_KEY": key}, clear=True):
        call_command("post_receive", *arguments, *more, stdout=out, stderr=out)
    return out.getvalue()


def key_of(organization: Organization, scope: Scope) -> str:
    return ApiKey.issue(organization=organization, scope=scope, now=timezone.now())[1]


def test_a_push_to_a_repository_that_hookhub_does_not_have_waits_until_it_is_created(
    organization: Organization, live_server: LiveServer, tmp_path: Path
) -> None:
    host = make_host(tmp_path, url=live_server.url)
    publisher = key_of(organization, Scope.PUBLISH)
    found = run(host, publisher, live_server.url)
    host.commit(a="1")
    host.push("main")
    problem = wait_for_problem(host)
    refused = run(host, publisher, live_server.url, "--create")

    created = run(host, key_of(organization, Scope.MANAGE), live_server.url, "--create")
    host.configure(api_key=publisher)
    flushed = host.flush()

    assert "acme has no such repository" in found
    assert '-d \'{"name": "widgets", "organization": "acme"}\'' in found
    assert "acme has no such repository" in problem
    assert "Repository acme/widgets was not created: HookHub answered 403" in refused
    assert "Created repository acme/widgets." in created
    assert "is reachable and accepts events for acme/widgets with this key." in created
    assert (flushed.returncode, flushed.stderr) == (0, "hookhub: 2 events sent\n")
    assert sorted(Event.objects.values_list("type", flat=True)) == ["branch.created", "push"]
    assert not host.spool.rejected.exists()


def test_a_key_of_another_organization_keeps_the_push_and_says_why(
    organization: Organization, live_server: LiveServer, tmp_path: Path
) -> None:
    host = make_host(tmp_path, url=live_server.url)
    other = Organization.objects.create(slug="other")
    Repository.objects.create(organization=organization, name="widgets")

    found = run(host, key_of(other, Scope.PUBLISH), live_server.url)
    host.commit(a="1")
    host.push("main")

    assert "other has no such repository" in found
    assert "other has no such repository" in wait_for_problem(host)
    assert len(host.spool.batches()) == 1
    host.configure(api_key=key_of(organization, Scope.PUBLISH))
    assert host.flush().stderr == "hookhub: 2 events sent\n"


def test_an_organization_that_creates_repositories_needs_none_before_the_push(
    organization: Organization, live_server: LiveServer, tmp_path: Path
) -> None:
    Organization.objects.update(create_repositories=True)
    host = make_host(tmp_path, url=live_server.url)
    found = run(host, key_of(organization, Scope.PUBLISH), live_server.url)
    was_there = Repository.objects.exists()
    host.configure(budget_seconds=60)
    host.commit(a="1")

    said = host.push("main", HOOKHUB_FOREGROUND="1")

    assert "Checked   " in found
    assert said.strip() == "remote: hookhub: 2 events sent"
    assert (was_there, Repository.objects.get().full_name) == (False, "acme/widgets")
    push = Event.objects.get(type="push")
    assert json.loads(bytes(push.payload))["repository"]["full_name"] == "acme/widgets"


def test_a_host_that_hookhub_does_not_serve_keeps_the_push(
    organization: Organization, repository: Repository, live_server: LiveServer, tmp_path: Path, settings: object
) -> None:
    host = make_host(tmp_path, url=live_server.url)
    settings.ALLOWED_HOSTS = ["hooks.example.org"]  # type: ignore[attr-defined]  # pytest-django's
    found = run(host, key_of(organization, Scope.PUBLISH), live_server.url)
    host.commit(a="1")
    host.push("main")
    problem = wait_for_problem(host)
    settings.ALLOWED_HOSTS = ["*"]  # type: ignore[attr-defined]  # as above

    assert "HookHub answered 400: Unknown host '" in found
    assert "HookHub answered 400" in problem
    assert host.flush().stderr == "hookhub: 2 events sent\n"


def test_a_repository_whose_name_differs_in_case_only_is_not_said_to_be_there_already(
    organization: Organization, live_server: LiveServer, tmp_path: Path
) -> None:
    Repository.objects.create(organization=organization, name="Widgets")
    host = make_host(tmp_path, url=live_server.url)

    said = run(host, key_of(organization, Scope.MANAGE), live_server.url, "--create")

    assert "acme/widgets was not created: HookHub answered 409: This name is already taken.; name: differs from" in said
    assert (
        "repository: differs from Widgets only in case; use the same spelling\nPass the exact name with --repository."
        in said
    )
    assert "already exists" not in said
    assert [repository.name for repository in Repository.objects.all()] == ["Widgets"]
