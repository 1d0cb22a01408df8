"""The append-only audit log: who changed what. Each entry is written in the transaction of its change."""

import getpass
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Model

from deliveries.db import sql
from deliveries.db.ids import first_id_at, uuid7
from deliveries.formats import MASK
from deliveries.models import AuditEntry, Organization

# A webhook has about fifteen fields, so an entry about one stays within a few pages.
MAX_VALUE_LENGTH = 1000
MAX_LABEL_LENGTH = 200
# Entries deleted by one pass of retention.
PRUNE_BATCH = 1000

# By a query of Django's, which compiles it each time, an entry takes three times as long.
INSERT_ENTRY = """
INSERT INTO hookhub_audit_entry (
    id, recorded_at, action, actor_kind, actor_id, actor_name, address, request_id, target_kind, target_id,
    target_label, organization_id, organization_slug, before, after
) VALUES (
    %(id)s, %(recorded_at)s, %(action)s, %(actor_kind)s, %(actor_id)s, %(actor_name)s, %(address)s, %(request_id)s,
    %(target_kind)s, %(target_id)s, %(target_label)s, %(organization_id)s, %(organization_slug)s, %(before)s, %(after)s
)
"""

State = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of a change.

    It is an API key (id, name), a person (login, name), a command (command name, OS user) or a portal session (id).
    """

    kind: Literal["api_key", "person", "command", "portal", "system", "anonymous"]
    id: str
    name: str = ""
    address: str = ""
    request_id: str = ""


# The actor of changes that workers make, such as disabling a webhook that keeps failing.
SYSTEM = Actor("system", "hookhub")


@dataclass(frozen=True, slots=True)
class Target:
    """The object of a change; ``organization`` is None if it belongs to none."""

    kind: str
    id: str
    label: str
    organization: Organization | None


@dataclass(frozen=True, slots=True)
class Masked:
    """A secret value in a State: ``value`` decides whether it changed, ``shown`` is written to the log."""

    value: object = field(repr=False)
    shown: object = MASK


# A function, so that the actor is looked up only if there is something to record: most requests only read.
_actor: ContextVar[Callable[[], Actor]] = ContextVar("actor")


def current_actor() -> Actor:
    """Return the actor of the current request or command, or SYSTEM if there is neither."""
    find = _actor.get(None)
    return SYSTEM if find is None else find()


@contextmanager
def acting(find: Callable[[], Actor]) -> Iterator[None]:
    """Record all changes inside this context as made by the actor that ``find`` returns."""
    token = _actor.set(find)
    try:
        yield
    finally:
        _actor.reset(token)


def identify(find: Callable[[], Actor]) -> None:
    """Replace the actor of the surrounding ``acting`` context, after authentication. Do nothing outside of one."""
    if _actor.get(None) is not None:
        _actor.set(find)


@contextmanager
def by_command(name: str) -> Iterator[None]:
    """Record all changes inside this context as made by the management command ``name``. Also works as a decorator."""
    with acting(lambda: Actor("command", name, _os_user())):
        yield


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # In a container, the user id may have no name.
        return f"uid {os.getuid()}"


def record(
    action: str,
    *,
    target: Target,
    before: State | None = None,
    after: State | None = None,
    now: datetime,
) -> None:
    """Write an audit entry in the transaction of the change. Raise RuntimeError outside of a transaction.

    ``before`` and ``after`` map field names to values; long values are truncated. Its actor is the ``current_actor()``.
    """
    if not connection.in_atomic_block:
        raise RuntimeError(f"{action} must be recorded in the transaction of the change")
    author = current_actor()
    entry = {
        "id": uuid7(now),
        "recorded_at": now,
        "action": action,
        "actor_kind": author.kind,
        "actor_id": _truncate(author.id),
        "actor_name": _truncate(author.name),
        "address": _truncate(author.address),
        "request_id": _truncate(author.request_id),
        "target_kind": target.kind,
        "target_id": _truncate(target.id),
        "target_label": _truncate(target.label),
        "organization_id": None if target.organization is None else target.organization.pk,
        "organization_slug": "" if target.organization is None else target.organization.slug,
        "before": _to_json(before),
        "after": _to_json(after),
    }
    sql.change(INSERT_ENTRY, entry)


def record_update(action: str, *, target: Target, before: State, after: State, now: datetime) -> None:
    """Write an audit entry with the fields that differ between ``before`` and ``after``, if any do."""
    if changed := changed_fields(before, after):
        record(
            action,
            target=target,
            before={name: before[name] for name in changed if name in before},
            after={name: after[name] for name in changed if name in after},
            now=now,
        )


def changed_fields(before: State, after: State) -> list[str]:
    """Return the names of the fields that differ between two states."""
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def shown(state: State) -> dict[str, Any]:
    """Return a state as the log shows it: plain values of JSON, secrets masked, long values truncated."""
    found: dict[str, Any] = json.loads(_to_json(state) or "{}")
    return found


def state_of(found: Model, *names: str) -> dict[str, object]:
    """Return the named attributes of a row as a dict."""
    return {name: getattr(found, name) for name in names}


def _to_json(state: State | None) -> str | None:
    if state is None:
        return None
    return json.dumps({name: _to_shown(value) for name, value in state.items()}, cls=_Encoder)


def _to_shown(value: object) -> object:
    """Return a value as the log shows it: masked if secret, truncated to MAX_VALUE_LENGTH characters of its JSON."""
    shown = value.shown if isinstance(value, Masked) else value
    text = shown if isinstance(shown, str) else json.dumps(shown, cls=_Encoder)
    if len(text) <= MAX_VALUE_LENGTH:
        return shown
    return f"{text[:MAX_VALUE_LENGTH]}… ({len(text):,} characters)"


class _Encoder(DjangoJSONEncoder):
    """Encodes a timedelta as a number of seconds, as the API does."""

    def default(self, o: Any) -> Any:
        return o.total_seconds() if isinstance(o, timedelta) else super().default(o)


def _truncate(text: str) -> str:
    """Return a text that PostgreSQL can store, of at most MAX_LABEL_LENGTH characters."""
    plain = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return plain[:MAX_LABEL_LENGTH]


# The table's trigger rejects deletions, except of entries older than this transaction-local setting.
ALLOW_PRUNING = "SELECT set_config('hookhub.audit_expired_before', %s, true)"


def prune_expired(*, now: datetime) -> int:
    """Delete up to PRUNE_BATCH entries older than HOOKHUB_AUDIT_RETENTION_DAYS and return how many."""
    horizon = now - settings.HOOKHUB_AUDIT_RETENTION
    expired = AuditEntry.objects.filter(id__lt=first_id_at(horizon)).order_by("id")
    ids = list(expired.values_list("id", flat=True)[:PRUNE_BATCH])
    if not ids:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ALLOW_PRUNING, [horizon.isoformat()])
        return AuditEntry.objects.filter(id__in=ids, recorded_at__lt=horizon).delete()[0]
