"""What is sent, stored and logged: formats, event types, choices, tasks, keys, and the fields of log lines."""

import json
import logging
from collections.abc import Iterator
from itertools import product
from typing import get_args

from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.http import HttpResponse
from django.test import RequestFactory

from deliveries import vault
from deliveries.event_types import catalogue
from deliveries.formats import FORMATS
from deliveries.formats.base import Verdict
from deliveries.pipeline import attempt_log, attempting, settling
from deliveries.policy.outcomes import NoResponse
from deliveries.systems import SYSTEMS
from deliveries.version import VERSION
from hookhub.git import install
from hookhub.http import access_log
from hookhub.models import ApiKey
from hookhub.publishing import parse
from hookhub.publishing.redis_stream import consumer, dead_letters, entries
from hookhub.service import celery
from tests.contract import source
from tests.unit.made_up import NOW, a_claim, a_reply, a_result

OURS = ("deliveries", "hookhub")
EVENT = b'{"type":"push","data":{"n":1},"repository":"widgets","id":"1","timestamp":"2026-03-04T12:00:00Z"}'
# The possible results of an attempt.
ANSWERS = {
    "200": a_reply(200),
    "410": a_reply(410),
    "500": a_reply(500),
    "no answer": NoResponse("timeout", "no answer"),
}


def formats() -> Iterator[str]:
    """Yield what receivers see of each format, its headers, and how it classifies their responses."""
    yield f"verdicts {' '.join(get_args(Verdict))}"
    for slug, wire_format in FORMATS.items():
        yield f"{slug} title={wire_format.title} content_types={','.join(wire_format.content_types)}"
        yield f"{slug} secret={wire_format.secret_policy.value} url_is_secret={wire_format.url_is_secret}"
        policy = wire_format.policy
        retries = None if policy.retry_schedule is None else [wait.total_seconds() for wait in policy.retry_schedule]
        yield f"{slug} timeout={policy.timeout} retries={retries} auto_disable={policy.auto_disable}"
        yield f"{slug} reserved headers: {' '.join(sorted(wire_format.reserved_headers))}"
        meant: dict[str, list[str]] = {}
        for status in range(100, 600):
            if verdict := wire_format.verdict_on(status):
                meant.setdefault(verdict, []).append(str(status))
        for verdict, statuses in meant.items():
            yield f"{slug} {verdict}: {_runs(statuses)}"
        claim = a_claim()
        request = attempting.render(claim._replace(destination=claim.destination._replace(format=slug)), now=NOW)
        for name, value in request.headers:
            shown = value.replace(VERSION, "VERSION")
            yield f"{slug} header {name}" + (f": {shown}" if name in {"Content-Type", "User-Agent"} else "")


def event_types() -> Iterator[str]:
    """Yield each system's event types, with the actions that their data may name."""
    for slug, dialect in SYSTEMS.items():
        known = catalogue.of(slug)
        yield f"{slug} title={dialect.title} format={dialect.wire_format} families={known.lists_families}"
        for name, event_type in known.types.items():
            yield " ".join([slug, name, *(f"action={action}" for action in event_type.actions)])


def choices() -> Iterator[str]:
    """Yield the values of stored fields, which the API, the admin and the command line show."""
    for app in OURS:
        for model in apps.get_app_config(app).get_models():
            for field in model._meta.get_fields():
                for value, _ in getattr(field, "flatchoices", ()):
                    yield f"{model._meta.label}.{field.name} {value}"
    for what, answer in ANSWERS.items():
        for failures in (0, 99):
            row = settling.to_row(a_result(answer, failures=failures), attempt_id=a_claim().lease)
            yield f"{what} after {failures} failures: {row['outcomes']} {row['states']} {row['finish_reasons']}"


def admin_pages() -> Iterator[str]:
    """Yield the permissions that users can have in the admin, and the actions of its pages."""
    for model, page in sorted(admin.site._registry.items(), key=lambda pair: pair[0]._meta.label):
        yield from (f"action {model._meta.label} {name}" for name in page.actions or ())
    for app in OURS:
        for model in apps.get_app_config(app).get_models():
            for action in model._meta.default_permissions:
                yield f"permission {app}.{action}_{model._meta.model_name}"
            for name, _ in model._meta.permissions:
                yield f"permission {app}.{name}"


def messages() -> Iterator[str]:
    """Yield what two versions of HookHub, and operators' own tools, share in Redis, PostgreSQL and Celery."""
    celery.app.loader.import_default_modules()
    for name, task in sorted(celery.app.tasks.items()):
        if not name.startswith("celery."):
            options = celery.app.amqp.router.route({}, name)
            yield f"task {name} queue={options['queue'].name} ignore_result={task.ignore_result}"
    yield f"queue {settings.CELERY_TASK_DEFAULT_QUEUE}"
    yield f"stream {settings.HOOKHUB_STREAM} group={consumer.GROUP} refused={consumer.dead_letter_stream('*')}"
    yield f"stream fields {' '.join(entries.FIELDS)}"
    yield f"stream refused fields {' '.join(name.decode() for name in dead_letters.OURS)}"
    for pattern in source.redis_keys():
        yield f"redis key {pattern}"
    for channel in source.channels():
        yield f"postgresql channel {channel}"
    for key in source.locks():
        yield f"postgresql advisory lock {key}"
    for name in source.session_settings():
        yield f"postgresql session setting {name}"
    for column in (vault.SECRETS, vault.HEADERS, vault.URL):
        yield f"sealed for {column} prefix={vault.PREFIX.decode()}"
    # Stored with every event that has a key. A different fingerprint would turn legitimate repeats into conflicts.
    [event] = parse.read(EVENT, "application/json").events
    yield f"fingerprint {event.fingerprint().hex()} of {EVENT.decode()}"
    yield f"git hook known by {install._MARK}"
    yield f"postgresql application_name {settings.DATABASES['default']['OPTIONS']['application_name']}"


def logs() -> Iterator[str]:
    """Yield the names of the loggers, and of the fields in lines of JSON."""
    for name in source.calls(logging.getLogger.__name__):
        yield f"logger {name}"
    request = RequestFactory().get("/v1/events", {"state": "failed"})
    request.META["HTTP_X_REQUEST_ID"] = "r1"
    access_log.name_caller(request.META, _key())
    request.__dict__["_cached_user"] = _person()
    for name in json.loads(access_log.line_of(request, HttpResponse(), took=0.5)):
        yield f"hookhub.access {name}"
    found: dict[str, None] = {}
    for answer, failures, ours in product(ANSWERS.values(), (0, 99), (True, None)):
        row = settling.to_row(a_result(answer, failures=failures), attempt_id=a_claim().lease)
        found |= dict.fromkeys(json.loads(attempt_log.line_of(row, was_ours=ours)))
    yield from (f"hookhub.attempts {name}" for name in found)


def _key() -> ApiKey:
    organization = apps.get_model("deliveries", "Organization")(slug="acme")
    return ApiKey(key_id="0" * 12, organization=organization)


def _person() -> object:
    return apps.get_model("auth", "User")(username="kim")


def _runs(statuses: list[str]) -> str:
    """Return statuses in ascending order, consecutive ones as a range."""
    found: list[list[int]] = []
    for status in map(int, statuses):
        if found and found[-1][-1] == status - 1:
            found[-1].append(status)
        else:
            found.append([status])
    return " ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in found)
