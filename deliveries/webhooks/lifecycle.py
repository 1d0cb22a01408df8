"""The webhook lifecycle: create, change, rotate the secret, enable, disable, delete."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from deliveries import audit, vault
from deliveries.audited import webhook_state, webhook_target
from deliveries.db import sql
from deliveries.db.ids import uuid7
from deliveries.events import NewEvent, system_event
from deliveries.formats import FORMATS, MASK, Format, format_of
from deliveries.formats.base import mask_path
from deliveries.models import Delivery, DeliveryQuerySet, Organization, Repository, Webhook
from deliveries.sending import url as target
from deliveries.vault import Secret
from deliveries.webhooks import fields, masks, quotas

Reason = Webhook.DisabledReason

# Bounds the row when a secret is rotated repeatedly; receivers need only the newest ones.
MAX_SECRETS = 5
# Webhooks examined by one pass of the review.
REVIEW_BATCH = 100
SEALED = ("stored_url", "sealed_url", "sealed_secrets", "sealed_headers")
# Fields whose validity depends on the wire format.
BY_THE_FORMAT = frozenset({"url", "content_type", "secret", "headers"})


class Part(NamedTuple):
    """A subset of a webhook's deliveries, with the condition and order of the index that serves it.

    With another condition or order, PostgreSQL would read the webhook's whole delivery log.
    """

    state: str
    condition: Q
    order: tuple[str, ...]


READY = Part("pending", Q(state="pending", line__gt=0), ("line", "due_at", "id"))
SCHEDULED = Part("pending", Q(state="pending", line=0), ("id",))
HELD = Part("held", Q(state="held"), ("id",))


def create(
    wanted: Mapping[str, object],
    *,
    organization: Organization,
    repository: Repository | None,
    active: bool = True,
    now: datetime,
) -> tuple[Webhook, str | None]:
    """Create a webhook. Return it with its secret, which is shown only here, or with None if it has no secret.

    ``wanted`` maps the names in fields.CHECKS to values; only ``url`` and ``events`` are required. Without ``secret``,
    one is generated. There is no secret if the format never signs, or if signing is optional and ``secret`` is "".
    With ``active=False`` the webhook starts disabled by its owner. Raise InvalidFields for invalid fields, and
    rates.TooMany if the organization changes webhooks too often.
    """
    missing = {name: "is required" for name in ("url", "events") if name not in wanted}
    if missing:
        raise fields.InvalidFields(missing)
    quotas.take_change(organization)
    granted = fields.check({"format": organization.wire_format, **wanted})
    wire_format = FORMATS[str(granted["format"])]
    granted.setdefault("content_type", wire_format.content_types[0])
    granted.setdefault("auto_disable", wire_format.policy.auto_disable)
    secret = _secret_for(wire_format, granted.pop("secret", None))
    headers = _as_headers(granted.pop("headers", {}))
    # Needed before the row is stored, because its secrets are encrypted with the id as associated data.
    uid = uuid7(now)
    with transaction.atomic():
        quotas.require_room(organization)
        quotas.require_room_at(
            str(granted["url"]), wire_format=wire_format, organization=organization, repository=repository
        )
        # Deleting a repository locks it and then deletes its webhooks; the lock keeps this webhook from being missed.
        if repository and not Repository.objects.select_for_update(no_key=True).filter(pk=repository.pk).first():
            raise fields.InvalidFields({"repository": "was deleted in the meantime"})
        webhook = Webhook.objects.create(
            organization=organization,
            repository=repository,
            uid=uid,
            sealed_secrets=_seal(secret, of=uid),
            sealed_headers=vault.seal_headers(headers, of=uid),
            created_at=now,
            changed_at=now,
            disabled_at=None if active else now,
            disabled_reason=None if active else Reason.BY_OWNER,
            owner_told_at=None if active else now,
            **granted,
        )
        audit.record("webhook.created", target=webhook_target(webhook), after=webhook_state(webhook), now=now)
    return webhook, secret or None


def change(
    webhook_id: int, wanted: Mapping[str, object], *, active: bool | None = None, now: datetime
) -> tuple[Webhook, str | None]:
    """Change the given fields of a webhook. Return it with its new secret, or with None if the secret is unchanged.

    ``active`` also enables or disables it, in the same transaction; held deliveries stay held. None changes nothing.
    If the URL moves to another receiver (any difference except in the query), a new secret is generated and the custom
    headers are removed, unless ``wanted`` contains them. Otherwise someone who may edit a webhook could redirect it and
    obtain messages signed with the old receiver's secret, or the token in its headers. For the same reason, a format
    that masks the URL can be replaced by one that shows it only if ``wanted`` contains the URL. A masked value stands
    for the stored one, so that a client can send back what it read. Raise InvalidFields for invalid fields, and
    rates.TooMany.
    """
    return _change_by(webhook_id, lambda _before: wanted, active=active, now=now)


def check_change(webhook: Webhook, wanted: Mapping[str, object]) -> None:
    """Raise InvalidFields for every invalid field, as ``change`` would, without changing anything."""
    asked = _unmasked(wanted, webhook)
    _require_https(webhook, instead=asked.get("url"))
    fields.check(asked, format_now=webhook.format)


def change_headers(webhook_id: int, changes: Mapping[str, object], *, now: datetime) -> Webhook:
    """Set the given custom headers, remove those that are None, and keep all others. Raise InvalidFields if invalid."""

    def merged(before: Webhook) -> Mapping[str, object]:
        stored = vault.headers_of(before)
        return {"headers": masks.merge_headers(changes, stored=stored)}

    return _change_by(webhook_id, merged, active=None, now=now)[0]


def _change_by(
    webhook_id: int, wanted_of: Callable[[Webhook], Mapping[str, object]], *, active: bool | None, now: datetime
) -> tuple[Webhook, str | None]:
    """Apply the changes that ``wanted_of`` returns for the current webhook. Return and raise as ``change`` does."""
    while True:
        # Validate before locking, because validating a URL may resolve its host name.
        before = Webhook.objects.kept().get(pk=webhook_id)
        asked = _unmasked(wanted_of(before), before)
        if asked or active:
            _require_https(before, instead=asked.get("url"))
        if "url" in asked and not before.has_url(asked["url"]):
            quotas.take_change(before.organization)
        granted = fields.check(asked, format_now=before.format)
        with transaction.atomic():
            webhook = Webhook.objects.kept().select_for_update(no_key=True).get(pk=webhook_id)
            # The validation and the unmasking used the row as it was read. Start over if it has changed since.
            if _held_against(webhook) == _held_against(before):
                new_secret = _change(webhook, granted, now=now)
                _switch(webhook, active=active, now=now)
                return webhook, new_secret


def _require_https(webhook: Webhook, *, instead: object) -> None:
    """Raise InvalidFields if HTTPS is required and the webhook would keep an http URL."""
    # ``stored_url`` always contains the scheme, even if the rest of the URL is masked.
    if settings.HOOKHUB_HTTPS_ONLY and instead is None and webhook.stored_url.startswith("http:"):
        raise fields.InvalidFields({"url": "must begin with https://: HOOKHUB_HTTPS_ONLY is enabled"})


def _held_against(webhook: Webhook) -> tuple[object, ...]:
    # Compare the encrypted values without opening them: a change that replaces all of them must succeed even if the
    # webhook's encryption key is lost.
    sealed = (webhook.sealed_url, webhook.sealed_secrets, webhook.sealed_headers)
    return webhook.format, webhook.stored_url, *(None if each is None else bytes(each) for each in sealed)


def _unmasked(wanted: Mapping[str, object], webhook: Webhook) -> dict[str, object]:
    """Return ``wanted`` with each mask replaced by the stored value. Raise InvalidFields where that is not possible."""
    asked = {name: value for name, value in wanted.items() if not (name == "url" and value == webhook.shown_url)}
    moves = "url" in asked and _leads_elsewhere(asked["url"], webhook)
    faults: dict[str, str] = {}
    headers = asked.get("headers")
    if isinstance(headers, Mapping) and MASK in headers.values():
        stored = vault.headers_of(webhook)
        try:
            asked["headers"] = masks.unmask_headers(headers, stored=stored, moves=moves)
        except ValueError as error:
            faults["headers"] = str(error)
    if asked.get("secret") == MASK:
        del asked["secret"]
        wire_format = FORMATS.get(str(asked.get("format", webhook.format)))
        if not vault.secrets_of(webhook):
            faults["secret"] = masks.SEND_THE_SECRET
        elif moves:
            faults["secret"] = masks.SEND_THE_SECRET_AGAIN
        elif wire_format is not None and not _may_keep_secrets(webhook, wire_format, moves=False):
            faults["secret"] = masks.SEND_ANOTHER_SECRET
    if faults:
        raise fields.InvalidFields(faults)
    return asked


def _leads_elsewhere(url: object, webhook: Webhook) -> bool:
    """Return whether a requested URL leads to another receiver; False if it is invalid and will be rejected."""
    try:
        return leads_elsewhere(target.normalise(url), webhook)
    except target.InvalidURL:
        return False


def leads_elsewhere(url: str, webhook: Webhook) -> bool:
    """Return whether a normalized URL leads to another receiver than the webhook's; True if that is unreadable."""
    try:
        return target.leads_elsewhere(url, webhook.url)
    except vault.Unreadable:
        return True


def _change(webhook: Webhook, granted: fields.Fields, *, now: datetime) -> str | None:
    """Change a locked webhook. Return its new secret, or None if the secret is unchanged."""
    state_before = webhook_state(webhook)
    moves = "url" in granted and leads_elsewhere(str(granted["url"]), webhook)
    if "url" in granted and not webhook.has_url(granted["url"]):
        quotas.require_room_at(
            str(granted["url"]),
            wire_format=format_of(str(granted.get("format", webhook.format))),
            organization=webhook.organization,
            repository=webhook.repository,
        )
    brings_format = "format" in granted and granted["format"] != webhook.format
    wire_format = format_of(str(granted.get("format", webhook.format)))
    if granted.keys() & BY_THE_FORMAT:
        _require_known(webhook, instead=granted.get("format"))
    if format_of(webhook.format).url_is_secret and not wire_format.url_is_secret and "url" not in granted:
        raise fields.InvalidFields(
            {"url": f"is required: the format {wire_format.slug} would reveal the URL, which is masked now"}
        )
    if brings_format:
        granted.setdefault("content_type", wire_format.content_types[0])
        if not moves and "headers" not in granted:
            # The new format may itself send a header that is among the custom headers.
            fields.check({"headers": vault.headers_of(webhook)}, format_now=wire_format.slug)
    new_secret = granted.pop("secret", None)
    if new_secret is None and (moves or brings_format) and not _may_keep_secrets(webhook, wire_format, moves=moves):
        new_secret = _secret_for(wire_format, None)
    if new_secret is not None:
        webhook.sealed_secrets = _seal(str(new_secret), of=webhook.uid)
    if moves or "headers" in granted:
        webhook.sealed_headers = vault.seal_headers(_as_headers(granted.pop("headers", {})), of=webhook.uid)
    _set_fields(webhook, granted)
    webhook.changed_at = now
    webhook.save(update_fields=[*(granted.keys() - {"url"}), *SEALED, "changed_at"])
    audit.record_update(
        "webhook.updated", target=webhook_target(webhook), before=state_before, after=webhook_state(webhook), now=now
    )
    return str(new_secret) if new_secret else None


def _set_fields(webhook: Webhook, granted: fields.Fields) -> None:
    """Set the validated fields; the URL last, because the format decides how much of it is masked."""
    # Assign the current URL again if the format changes: the new format may mask more of it, or less.
    url = granted.get("url", webhook.url if "format" in granted else None)
    for name in granted.keys() - {"url"}:
        setattr(webhook, name, granted[name])
    if url is not None:
        webhook.url = str(url)


def _require_known(webhook: Webhook, *, instead: object = None) -> None:
    """Raise InvalidFields if this version does not know the webhook's format and it does not get another one."""
    if instead is None and webhook.format not in FORMATS:
        fault = f"{webhook.format} is unknown to this version of HookHub; upgrade, or choose another format"
        raise fields.InvalidFields({"format": fault})


def rotate_secret(
    webhook_id: int, *, secret: str | None = None, overlap: timedelta | None = None, now: datetime
) -> tuple[Webhook, str]:
    """Add a new secret; the previous ones keep signing alongside it for ``overlap``. Return webhook and new secret.

    ``secret`` is generated if None; ``overlap`` defaults to HOOKHUB_SECRET_OVERLAP. Raise InvalidFields if the secret
    is invalid, or if the format signs nothing or is unknown to this version.
    """
    overlap = settings.HOOKHUB_SECRET_OVERLAP if overlap is None else overlap
    with transaction.atomic():
        webhook = Webhook.objects.kept().select_for_update(no_key=True).get(pk=webhook_id)
        _require_known(webhook)
        if FORMATS[webhook.format].signs == "never":
            raise fields.InvalidFields(
                {"secret": f"cannot be rotated: the format {webhook.format} does not sign requests"}
            )
        if secret == "":
            raise fields.InvalidFields({"secret": "must not be empty; to remove the secret, change the webhook"})
        if secret is not None:
            fields.check({"secret": secret}, format_now=webhook.format)
        new = secret or FORMATS[webhook.format].make_secret()
        last_day = now + overlap
        older = tuple(
            Secret(old.text, min(old.expires_at or last_day, last_day))
            for old in vault.secrets_of(webhook)
            if old.is_live(now) and old.text != new and overlap > timedelta(0)
        )
        webhook.sealed_secrets = vault.seal_secrets((Secret(new), *older)[:MAX_SECRETS], of=webhook.uid)
        webhook.save(update_fields=["sealed_secrets"])
        after = {"secret": audit.Masked(new), "previous_secrets_until": last_day if older else None}
        audit.record("webhook.secret_rotated", target=webhook_target(webhook), after=after, now=now)
    return webhook, new


def disable(webhook: Webhook, *, reason: Reason, now: datetime) -> int:
    """Disable a locked webhook and hold its pending deliveries. Return how many are held by this call.

    Call it in a transaction. It holds at most queue.AT_ONCE deliveries; the claim holds the others instead of sending
    them.
    """
    webhook.disabled_at, webhook.disabled_reason = now, reason
    webhook.releasing_since = None
    webhook.changed_at = now
    # No e-mail if the owner disabled it.
    webhook.owner_told_at = now if reason == Reason.BY_OWNER else None
    webhook.save(update_fields=["disabled_at", "disabled_reason", "releasing_since", "changed_at", "owner_told_at"])
    held = _some(webhook, READY, SCHEDULED).update(state="held", due_at=None)
    after = {"active": False, "reason": reason.value, "held": held}
    audit.record("webhook.disabled", target=webhook_target(webhook), before={"active": True}, after=after, now=now)
    return held


def enable(webhook: Webhook, *, release_held: bool, now: datetime) -> int:
    """Enable a locked webhook and reset its health. Return how many held deliveries are released by this call.

    Call it in a transaction. It releases at most queue.AT_ONCE deliveries; the maintenance tasks release the others
    in batches within seconds.
    """
    before = {"active": webhook.active, "reason": webhook.disabled_reason}
    webhook.disabled_at = webhook.disabled_reason = webhook.owner_told_at = None
    webhook.review_since = webhook.gone_at = webhook.resting_until = None
    webhook.failure_count = webhook.timeouts_in_a_row = 0
    webhook.changed_at = webhook.enabled_at = now
    released = release(webhook, now=now) if release_held else 0
    webhook.releasing_since = now if released == sql.AT_ONCE else None
    webhook.save(
        update_fields=[
            "enabled_at", "releasing_since",
            "disabled_at", "disabled_reason", "owner_told_at", "review_since", "gone_at", "resting_until",
            "failure_count", "timeouts_in_a_row", "changed_at",
        ]
    )  # fmt: skip
    after = {"active": True, "reason": None, "released": released}
    audit.record("webhook.enabled", target=webhook_target(webhook), before=before, after=after, now=now)
    return released


def release(webhook: Webhook, *, now: datetime) -> int:
    """Make up to queue.AT_ONCE held deliveries due now and return how many. Call it in a transaction."""
    held = _some(webhook, HELD)
    return held.update(state="pending", line=Delivery.Line.AGAIN, due_at=now, failures=0, first_attempt_at=None)


def delete(webhook: Webhook, *, now: datetime) -> int:
    """Mark a locked webhook as deleted, erase its URL and secrets, and cancel its unfinished deliveries.

    Return how many deliveries are cancelled by this call: at most queue.AT_ONCE; the maintenance tasks cancel the
    others. Call it in a transaction. The delivery log stays, and retention deletes the row with the last of its log.
    """
    state_before = webhook_state(webhook)
    webhook.deleted_at = webhook.changed_at = now
    webhook.sealed_secrets, webhook.sealed_headers = vault.seal_secrets((), of=webhook.uid), None
    # The path may contain a token. The host is enough for the log to show where deliveries went.
    webhook.stored_url, webhook.sealed_url = mask_path(webhook.stored_url), None
    webhook.save(update_fields=["deleted_at", "changed_at", *SEALED])
    owed = _some(webhook, READY, SCHEDULED, HELD)
    cancelled = owed.update(state="cancelled", ending="cancelled", due_at=None, finished_at=now)
    after = {"cancelled": cancelled}
    audit.record("webhook.deleted", target=webhook_target(webhook), before=state_before, after=after, now=now)
    return cancelled


def _some(webhook: Webhook, *parts: Part) -> DeliveryQuerySet:
    """Lock and return up to queue.AT_ONCE deliveries of the webhook, taken from one part after the other."""
    ids: list[UUID] = []
    for part in parts:
        found = Delivery.objects.filter(part.condition, webhook=webhook).order_by(*part.order)
        ids += found.values_list("id", flat=True)[: sql.AT_ONCE - len(ids)]
    states = {part.state for part in parts}
    return Delivery.objects.filter(id__in=ids, state__in=states).in_order(most=sql.AT_ONCE)


def to_review() -> list[int]:
    """Return the ids of up to REVIEW_BATCH webhooks that the review must examine."""
    wanted = Q(review_since__isnull=False) | Q(gone_at__isnull=False)
    if settings.HOOKHUB_DISABLE_AFTER_FAILURES:
        # Webhooks without auto_disable would match forever and could fill every batch.
        most = settings.HOOKHUB_DISABLE_AFTER_FAILURES
        wanted |= Q(disabled_at=None, deleted_at=None, auto_disable=True, failure_count__gte=most)
    return list(Webhook.objects.filter(wanted).order_by("id").values_list("id", flat=True)[:REVIEW_BATCH])


def lock(webhook_id: int) -> Webhook | None:
    """Return the webhook, locked until the transaction ends, or None if it does not exist."""
    return Webhook.objects.select_for_update(no_key=True).filter(pk=webhook_id).first()


def mark_reviewed(webhook: Webhook) -> None:
    """Clear the marks that request a review of the webhook."""
    webhook.review_since = webhook.gone_at = None
    webhook.save(update_fields=["review_since", "gone_at"])


def disabled_event(webhook: Webhook, *, now: datetime) -> NewEvent:
    """Return the system event that reports to the organization's other webhooks that this one has been disabled."""
    return system_event(
        "webhook.disabled",
        organization_id=webhook.organization_id,
        data={
            "webhook": {"id": str(webhook.uid), "name": webhook.name, "url": webhook.shown_url},
            "reason": webhook.disabled_reason,
            "failure_count": webhook.failure_count,
            "disabled_at": now.isoformat(),
        },
        now=now,
    )


def _may_keep_secrets(webhook: Webhook, wire_format: Format, *, moves: bool) -> bool:
    """Return whether the webhook can keep its secrets (or having none) with this format.

    ``moves`` means that the URL leads to another receiver, which must not get the old receiver's secret.
    """
    if moves and wire_format.signs == "always":
        return False
    try:
        secrets = vault.secrets_of(webhook)
    except vault.Unreadable:
        if moves:
            return False
        raise
    if not secrets:
        return wire_format.signs != "always"
    if moves or wire_format.signs == "never":
        return False
    return not any(wire_format.fault_in_secret(secret.text) for secret in secrets)


def _secret_for(wire_format: Format, wanted: object) -> str:
    """Return the requested secret; for None, generate one, or return "" if the format signs nothing."""
    if wanted is None:
        return "" if wire_format.signs == "never" else wire_format.make_secret()
    return str(wanted)


def _seal(secret: str, *, of: UUID) -> bytes:
    return vault.seal_secrets((Secret(secret),) if secret else (), of=of)


def _switch(webhook: Webhook, *, active: bool | None, now: datetime) -> None:
    """Enable or disable the webhook for its owner; do nothing if ``active`` is None or already the case."""
    if active and not webhook.active:
        enable(webhook, release_held=False, now=now)
    elif active is False and webhook.active:
        disable(webhook, reason=Reason.BY_OWNER, now=now)


def _as_headers(value: object) -> dict[str, str]:
    return value if isinstance(value, dict) else {}


def reseal_all() -> Iterator[bool]:
    """Re-encrypt every webhook's secrets, headers and URL with the first key, in the current form.

    Yield for each webhook whether it had to be re-encrypted. Each is committed separately, so that after an
    interruption the next run skips what is done. Raise vault.Unreadable at the first webhook that cannot be decrypted.
    """
    for webhook_id in Webhook.objects.kept().order_by("id").values_list("id", flat=True).iterator():
        with transaction.atomic():
            webhook = lock(webhook_id)
            was_stale = webhook is not None and _reseal(webhook)
        yield was_stale


def wipe_deleted() -> int:
    """Mask the URLs of deleted webhooks that an earlier version left in place; return how many."""
    wiped = 0
    deleted = Webhook.objects.exclude(deleted_at=None).only("id", "stored_url").order_by("id")
    for webhook in deleted.iterator():
        masked = mask_path(webhook.stored_url)
        if masked != webhook.stored_url:
            # No lock is needed, because a deleted webhook is never changed.
            wiped += Webhook.objects.filter(pk=webhook.pk).update(stored_url=masked, sealed_url=None)
    return wiped


def _reseal(webhook: Webhook) -> bool:
    before = [getattr(webhook, name) for name in SEALED]
    secrets, headers = webhook.sealed_secrets, webhook.sealed_headers
    webhook.sealed_secrets = vault.reseal(secrets, column=vault.SECRETS, of=webhook.uid)
    if headers is not None:
        webhook.sealed_headers = vault.reseal(headers, column=vault.HEADERS, of=webhook.uid)
    if webhook.sealed_url is None:
        # An earlier version may have stored the URL unmasked. Assigning it applies the format's mask and encryption.
        webhook.url = webhook.stored_url
    else:
        webhook.sealed_url = vault.reseal(webhook.sealed_url, column=vault.URL, of=webhook.uid)
    if before == [getattr(webhook, name) for name in SEALED]:
        return False
    webhook.save(update_fields=SEALED)
    return True
