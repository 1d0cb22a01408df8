"""The document says what is taken and what is refused: requests made of it get the answers that it promises."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import override_settings
from django.utils import timezone
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import Failure
from schemathesis.engine import events, from_schema

from deliveries.models import Organization
from hookhub.models import ApiKey, Scope
from tests.api import Caller
from tests.documents import Document
from tests.fuzzing import meant, rows
from tests.fuzzing.__main__ import CONFIG
from tests.partners.live import deliver
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db(transaction=True)

# The same views under another prefix; `make fuzz` tries them all.
ENTERPRISE = "^/api/v3/"
WITHOUT_LIMITS = {
    "HOOKHUB_REQUESTS_PER_KEY": 0,
    "HOOKHUB_REQUESTS_PER_ORGANIZATION": 0,
    "HOOKHUB_WEBHOOK_CHANGES": 0,
    "HOOKHUB_WEBHOOKS_PER_URL": 0,
    "HOOKHUB_DEVELOPMENT": True,
}


@pytest.fixture
def key(organization: Organization, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A key of an organization that has something of everything."""
    now = timezone.now()
    Organization.objects.create(slug=rows.SPARE)
    key, operator_key = (ApiKey.issue(organization=one, scope=Scope.MASTER, now=now)[1] for one in (organization, None))
    with override_settings(**WITHOUT_LIMITS):
        made = rows.make(partial(call, Caller(key)), receiver, deliver=deliver)
        for name, value in rows.environment(made, key=key, operator_key=operator_key).items():
            monkeypatch.setenv(name, value)
        yield key


def call(caller: Caller, method: str, path: str, body: object = None) -> Any:
    answer = caller.send(method, path, body)
    assert 200 <= answer.status_code < 300, (method, path, answer.content)
    return json.loads(answer.content)


def test_requests_that_cover_the_document_are_answered_as_it_says(key: str) -> None:
    schema = schemathesis.openapi.from_wsgi(
        "/v1/openapi.json", get_wsgi_application(), config=SchemathesisConfig.from_path(CONFIG)
    )
    phases = schema.config.phases
    phases.examples.enabled = phases.fuzzing.enabled = phases.stateful.enabled = False
    schema.config.generation.update(deterministic=True)

    failures: list[Failure] = []
    errors: list[object] = []
    tried: set[str] = set()
    for event in from_schema(schema.exclude(path_regex=ENTERPRISE)).execute():
        match event:
            case events.ScenarioFinished():
                tried.add(event.recorder.label)
                checks = [check for found in event.recorder.checks.values() for check in found]
                failures += [check.failure_info.failure for check in checks if check.failure_info is not None]
            case events.NonFatalError() | events.FatalError() | events.Interrupted():
                errors.append(event)

    assert errors == []
    assert [f"{failure.operation}: {failure.title}: {failure.message}" for failure in failures] == []
    named = {f"{operation.method} {operation.path}" for operation, _ in Document().operations()}
    assert tried == {name for name in named if not name.split(" ")[1].startswith("/api/v3/")}
    # Had the key been revoked on the way, every answer since would have been a well documented 401.
    assert Caller(key).get(rows.HOOKS).status_code == 200


def test_every_exception_names_operations_and_a_check_that_there_are() -> None:
    operations = {f"{operation.method} {operation.path}" for operation, _ in Document().operations()}
    load_all_checks()
    checks = set(CHECKS.get_all_names())

    listed = meant.read()

    assert {name for one in listed for name in one.operations} - operations == set()
    assert {one.check for one in listed} - checks == set()
    assert [one for one in listed if not one.reason.endswith(".")] == []
