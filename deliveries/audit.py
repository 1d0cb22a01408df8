"""The audit log: who changed what, written in the transaction of the change and never altered."""

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

from deliveries.formats import MASK
from deliveries.ids import first_id_at, uuid7
from deliveries.models import AuditEntry, Organization

# A webhook has some fifteen fields, so that what an entry shows of it stays within a few pages.
MAX_VALUE_LENGTH = 1000
MAX_LABEL_LENGTH = 200
# Rows that one pass of retention deletes.
PRUNE_BATCH = 1000

State = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Actor:
    """Who makes a change: an API key (its id and name), a person (login and name), a command (and the OS user)."""

    kind: Literal["api_key", "person", "command", "system", "anonymous"]
    id: str
    name: str = ""
    address: str = ""
    request_id: str = ""


# What workers do by themselves, such as disabling a webhook that keeps failing.
SYSTEM = Actor("system", "hookhub")


@dataclass(frozen=True, slots=True)
class Target:
    """What a change was made to; ``organization`` is None where it belongs to none."""

    kind: str
    id: str
    label: str
    organization: Organization | None


@dataclass(frozen=True, slots=True)
class Masked:
    """A secret in a state: compared by ``value``, shown as ``shown``."""

    value: object = field(repr=False)
    shown: object = MASK


# Whoever acts is found only when there is something to record: most requests read.
_actor: ContextVar[Callable[[], Actor]] = ContextVar("actor")


def current_actor() -> Actor:
    """Return the actor of this request or command; the system where there is neither."""
    find = _actor.get(None)
    return SYSTEM if find is None else find()


@contextmanager
def acting(find: Callable[[], Actor]) -> Iterator[None]:
    """Have all changes inside recorded as made by the actor that ``find`` returns."""
    token = _actor.set(find)
    try:
        yield
    finally:
        _actor.reset(token)


def identify(find: Callable[[], Actor]) -> None:
    """Replace the actor of the surrounding ``acting``, once authentication knows more."""
    if _actor.get(None) is not None:
        _actor.set(find)


@contextmanager
def by_command(name: str) -> Iterator[None]:
    """Have all changes inside recorded as made by a management command; also a decorator."""
    with acting(lambda: Actor("command", name, _os_user())):
        yield


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user need not have a name.
        return f"uid {os.getuid()}"


# Recording ------------------------------------------------------------------------------------------------------------


def record(
    action: str,
    *,
    target: Target,
    before: State | None = None,
    after: State | None = None,
    actor: Actor | None = None,
    now: datetime,
) -> None:
    """Write an entry in the transaction of the change that it tells of; raises RuntimeError outside of one."""
    if not connection.in_atomic_block:
        raise RuntimeError(f"{action} must be recorded in the transaction of the change")
    who = actor or current_actor()
    AuditEntry.objects.create(
        id=uuid7(now),
        recorded_at=now,
        action=action,
        actor_kind=who.kind,
        actor_id=_storable(who.id),
        actor_name=_storable(who.name),
        address=_storable(who.address),
        request_id=_storable(who.request_id),
        target_kind=target.kind,
        target_id=_storable(target.id),
        target_label=_storable(target.label),
        organization_id=None if target.organization is None else target.organization.pk,
        organization_slug="" if target.organization is None else target.organization.slug,
        before=_written(before),
        after=_written(after),
    )


def record_update(action: str, *, target: Target, before: State, after: State, now: datetime) -> None:
    """Write an entry with the fields that differ; none where nothing does."""
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    if changed:
        record(
            action,
            target=target,
            before={name: before[name] for name in changed if name in before},
            after={name: after[name] for name in changed if name in after},
            now=now,
        )


def state_of(found: Model, *names: str) -> dict[str, object]:
    """Return the named fields of a row; relations by their key."""
    return {name: getattr(found, name) for name in names}


def _written(state: State | None) -> str | None:
    if state is None:
        return None
    return json.dumps({name: _bounded(value) for name, value in state.items()}, cls=_Encoder)


def _bounded(value: object) -> object:
    """Return a value as it is shown: masked, and the beginning of its JSON where that is long."""
    shown = value.shown if isinstance(value, Masked) else value
    text = shown if isinstance(shown, str) else json.dumps(shown, cls=_Encoder)
    if len(text) <= MAX_VALUE_LENGTH:
        return shown
    return f"{text[:MAX_VALUE_LENGTH]}… ({len(text):,} characters)"


class _Encoder(DjangoJSONEncoder):
    """Writes spans as seconds, as the API does."""

    def default(self, o: Any) -> Any:
        return o.total_seconds() if isinstance(o, timedelta) else super().default(o)


def _storable(text: str) -> str:
    """Return a text that PostgreSQL can store, with a bounded length."""
    plain = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return plain[:MAX_LABEL_LENGTH]


# Retention ------------------------------------------------------------------------------------------------------------

# The table's trigger refuses every deletion but that of entries older than this setting of the transaction.
ALLOW_PRUNING = "SELECT set_config('hookhub.audit_expired_before', %s, true)"


def prune_expired(*, now: datetime) -> int:
    """Delete up to PRUNE_BATCH entries past HOOKHUB_AUDIT_RETENTION_DAYS; return how many."""
    horizon = now - settings.HOOKHUB_AUDIT_RETENTION
    expired = AuditEntry.objects.filter(id__lt=first_id_at(horizon)).order_by("id")
    ids = list(expired.values_list("id", flat=True)[:PRUNE_BATCH])
    if not ids:
        return 0
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ALLOW_PRUNING, [horizon.isoformat()])
        return AuditEntry.objects.filter(id__in=ids, recorded_at__lt=horizon).delete()[0]
