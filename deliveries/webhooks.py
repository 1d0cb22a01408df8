"""Webhooks from creation to deletion: every change of a wish, whoever asks for it."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from deliveries import audit, masks, queue, quotas, target, terms, vault
from deliveries.audited import webhook_state, webhook_target
from deliveries.events import NewEvent, operational
from deliveries.formats import FORMATS, MASK, Format, format_of
from deliveries.formats.base import mask_path
from deliveries.ids import uuid7
from deliveries.models import Delivery, DeliveryQuerySet, Organization, Repository, Webhook
from deliveries.vault import Secret

Reason = Webhook.DisabledReason

# Rotating again and again must not let the row grow without bound; the receiver has the newest anyway.
SECRETS_MOST = 5
# One pass of the review.
REVIEW_BATCH = 100
# What is good or bad by the format that a webhook has.
SEALED = ("stored_url", "sealed_url", "sealed_secrets", "sealed_headers")
BY_THE_FORMAT = frozenset({"url", "content_type", "secret", "headers"})


class Part(NamedTuple):
    """A part of what a webhook is owed, in the words of an index: in others its whole log would be read."""

    state: str
    condition: Q
    order: tuple[str, ...]


IN_LINE = Part("pending", Q(state="pending", line__gt=0), ("line", "due_at", "id"))
LATER = Part("pending", Q(state="pending", line=0), ("id",))
HELD = Part("held", Q(state="held"), ("id",))


def create(
    wanted: Mapping[str, object],
    *,
    organization: Organization,
    repository: Repository | None,
    active: bool = True,
    now: datetime,
) -> tuple[Webhook, str | None]:
    """Create a webhook and give it with its secret, which is shown this once; raises BadTerms and rates.TooMany.

    ``wanted`` has the fields of terms.CHECKS; all but ``url`` and ``events`` may be left out. A secret that is left out
    is made up. There is none, and None is given, where the format signs nothing, or only if asked and the secret wanted
    is the empty text. A webhook that is not to be ``active`` begins as its owner would have disabled it.
    """
    missing = {name: "is required" for name in ("url", "events") if name not in wanted}
    if missing:
        raise terms.BadTerms(missing)
    quotas.take_change(organization)
    granted = terms.check({"format": organization.wire_format, **wanted})
    wire_format = FORMATS[str(granted["format"])]
    granted.setdefault("content_type", wire_format.content_types[0])
    granted.setdefault("auto_disable", wire_format.policy.auto_disable)
    secret = _secret_for(wire_format, granted.pop("secret", None))
    headers = _as_headers(granted.pop("headers", {}))
    # Known before the row is stored: its secrets are sealed for it alone.
    uid = uuid7(now)
    with transaction.atomic():
        quotas.require_room(organization)
        quotas.require_room_at(
            str(granted["url"]), wire_format=wire_format, organization=organization, repository=repository
        )
        # Whoever deletes a repository locks it first, and then deletes the webhooks it finds.
        if repository and not Repository.objects.select_for_update(no_key=True).filter(pk=repository.pk).first():
            raise terms.BadTerms({"repository": "has just been deleted"})
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
    """Change the given fields; give the webhook, and its secret when that is a new one; raises BadTerms.

    ``active`` also enables or disables it, all of it or nothing; what was held stays held. None leaves it as it is.
    A URL that leads elsewhere (anything but the query differs) gets a new secret and loses the owner's own headers
    unless they are sent along: who may edit a webhook must not thereby learn what another receiver's secret signs or
    which token opens its door. For the same reason a webhook whose URL is masked keeps a format that masks it, unless
    the URL is sent along. What is masked stands for what there is, so that what was read can be sent back.
    """
    return _change_by(webhook_id, lambda _before: wanted, active=active, now=now)


def check_change(webhook: Webhook, wanted: Mapping[str, object]) -> None:
    """Raise BadTerms, as changing the webhook would, for every field that will not do."""
    asked = _unmasked(wanted, webhook)
    _require_https(webhook, instead=asked.get("url"))
    terms.check(asked, format_now=webhook.format)


def change_headers(webhook_id: int, changes: Mapping[str, object], *, now: datetime) -> Webhook:
    """Set the given headers of the owner's own, remove those that are None, leave all others; raises BadTerms."""

    def merged(before: Webhook) -> Mapping[str, object]:
        stored = vault.headers_of(before)
        return {"headers": masks.merge_headers(changes, stored=stored)}

    return _change_by(webhook_id, merged, active=None, now=now)[0]


def _change_by(
    webhook_id: int, wanted_of: Callable[[Webhook], Mapping[str, object]], *, active: bool | None, now: datetime
) -> tuple[Webhook, str | None]:
    """Change what is wanted of the webhook as it is; give it, and its secret when that is a new one."""
    while True:
        # Checked before anything is locked, since checking a URL may ask a name server.
        before = Webhook.objects.kept().get(pk=webhook_id)
        asked = _unmasked(wanted_of(before), before)
        if asked or active:
            _require_https(before, instead=asked.get("url"))
        if "url" in asked and not before.has_url(asked["url"]):
            quotas.take_change(before.organization)
        granted = terms.check(asked, format_now=before.format)
        with transaction.atomic():
            webhook = Webhook.objects.kept().select_for_update(no_key=True).get(pk=webhook_id)
            # What was found good is so for what it was held against, and what was masked stands for what there was.
            if _held_against(webhook) == _held_against(before):
                new_secret = _change(webhook, granted, now=now)
                _switch(webhook, active=active, now=now)
                return webhook, new_secret


def _require_https(webhook: Webhook, *, instead: object) -> None:
    """Raise BadTerms where a webhook keeps a URL that the operator allows no more."""
    # What is stored in the clear has the scheme, also where the rest of the URL is masked.
    if settings.HOOKHUB_HTTPS_ONLY and instead is None and webhook.stored_url.startswith("http:"):
        raise terms.BadTerms({"url": "must begin with https://: HOOKHUB_HTTPS_ONLY is set on this HookHub"})


def _held_against(webhook: Webhook) -> tuple[object, ...]:
    # Sealed as they are: a change that brings all of them anew mends a webhook whose key is lost.
    sealed = (webhook.sealed_url, webhook.sealed_secrets, webhook.sealed_headers)
    return webhook.format, webhook.stored_url, *(None if each is None else bytes(each) for each in sealed)


def _unmasked(wanted: Mapping[str, object], webhook: Webhook) -> dict[str, object]:
    """Give what is wanted with the stored values in place of their masks; raises BadTerms where there are none."""
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
        raise terms.BadTerms(faults)
    return asked


def _leads_elsewhere(url: object, webhook: Webhook) -> bool:
    """Tell whether a wanted URL leads to another receiver; of one that will be refused, no."""
    try:
        return leads_elsewhere(target.normalise(url), webhook)
    except target.BadTarget:
        return False


def leads_elsewhere(url: str, webhook: Webhook) -> bool:
    """Return whether a normalised URL leads elsewhere than the webhook's, which may do so where that cannot be read."""
    try:
        return target.leads_elsewhere(url, webhook.url)
    except vault.Unreadable:
        return True


def _change(webhook: Webhook, granted: terms.Fields, *, now: datetime) -> str | None:
    """Change a locked webhook; give its secret when that is a new one."""
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
        raise terms.BadTerms({"url": f"is required: {wire_format.slug} would show the one that is masked now"})
    if brings_format:
        granted.setdefault("content_type", wire_format.content_types[0])
        if not moves and "headers" not in granted:
            # The new format may send a header itself that the owner's own would double.
            terms.check({"headers": vault.headers_of(webhook)}, format_now=wire_format.slug)
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


def _set_fields(webhook: Webhook, granted: terms.Fields) -> None:
    """Set the granted fields; the URL last, because the format decides how much of it is shown."""
    # Another format may show more of it, or less.
    url = granted.get("url", webhook.url if "format" in granted else None)
    for name in granted.keys() - {"url"}:
        setattr(webhook, name, granted[name])
    if url is not None:
        webhook.url = str(url)


def _require_known(webhook: Webhook, *, instead: object = None) -> None:
    """Refuse what only a format that this version knows can be held against; raises BadTerms."""
    if instead is None and webhook.format not in FORMATS:
        fault = f"{webhook.format} is not known to this version of HookHub; run one that knows it, or choose another"
        raise terms.BadTerms({"format": fault})


def rotate_secret(
    webhook_id: int, *, secret: str | None = None, overlap: timedelta | None = None, now: datetime
) -> tuple[Webhook, str]:
    """Give the webhook a new secret; the others go on signing beside it for ``overlap``. Raises BadTerms."""
    overlap = settings.HOOKHUB_SECRET_OVERLAP if overlap is None else overlap
    with transaction.atomic():
        webhook = Webhook.objects.kept().select_for_update(no_key=True).get(pk=webhook_id)
        _require_known(webhook)
        if FORMATS[webhook.format].signs == "never":
            raise terms.BadTerms({"secret": f"cannot be rotated: the format {webhook.format} signs nothing"})
        if secret == "":
            raise terms.BadTerms({"secret": "cannot be rotated to none; change the webhook's secret to that"})
        if secret is not None:
            terms.check({"secret": secret}, format_now=webhook.format)
        new = secret or FORMATS[webhook.format].make_secret()
        last_day = now + overlap
        older = tuple(
            Secret(old.text, min(old.expires_at or last_day, last_day))
            for old in vault.secrets_of(webhook)
            if old.is_live(now) and old.text != new and overlap > timedelta(0)
        )
        webhook.sealed_secrets = vault.seal_secrets((Secret(new), *older)[:SECRETS_MOST], of=webhook.uid)
        webhook.save(update_fields=["sealed_secrets"])
        after = {"secret": audit.Masked(new), "previous_secrets_until": last_day if older else None}
        audit.record("webhook.secret_rotated", target=webhook_target(webhook), after=after, now=now)
    return webhook, new


def disable(webhook: Webhook, *, reason: Reason, now: datetime) -> int:
    """Owe it nothing new, and hold what it is owed; give how many deliveries that holds. Call it in a transaction.

    Of more than queue.AT_ONCE the rest is held when its turn comes; nothing of it is sent.
    """
    webhook.disabled_at, webhook.disabled_reason = now, reason
    webhook.releasing_since = None
    webhook.changed_at = now
    # Who switched it off oneself needs no letter about it.
    webhook.owner_told_at = now if reason == Reason.BY_OWNER else None
    webhook.save(update_fields=["disabled_at", "disabled_reason", "releasing_since", "changed_at", "owner_told_at"])
    held = _some(webhook, IN_LINE, LATER).update(state="held", due_at=None)
    after = {"active": False, "reason": reason.value, "held": held}
    audit.record("webhook.disabled", target=webhook_target(webhook), before={"active": True}, after=after, now=now)
    return held


def enable(webhook: Webhook, *, release_held: bool, now: datetime) -> int:
    """Owe it new events again, its health afresh; give how many held ones that releases. Call it in a transaction.

    Of more than queue.AT_ONCE the rest follows within seconds, batch by batch.
    """
    before = {"active": webhook.active, "reason": webhook.disabled_reason}
    webhook.disabled_at = webhook.disabled_reason = webhook.owner_told_at = None
    webhook.review_since = webhook.gone_at = webhook.resting_until = None
    webhook.failure_count = webhook.timeouts_in_a_row = 0
    webhook.changed_at = webhook.enabled_at = now
    released = release(webhook, now=now) if release_held else 0
    webhook.releasing_since = now if released == queue.AT_ONCE else None
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
    """Make some of what is held for it due at once; give how many. Call it in a transaction."""
    held = _some(webhook, HELD)
    return held.update(state="pending", line=Delivery.Line.AGAIN, due_at=now, failures=0, first_attempt_at=None)


def delete(webhook: Webhook, *, now: datetime) -> int:
    """Forget its wish, its URL and its secrets, keep its log, and cancel what it is owed; give how many that cancels.

    Call it in a transaction. Of more than queue.AT_ONCE the chores cancel the rest. The row itself goes when retention
    has taken the last of its log.
    """
    state_before = webhook_state(webhook)
    webhook.deleted_at = webhook.changed_at = now
    webhook.sealed_secrets, webhook.sealed_headers = vault.seal_secrets((), of=webhook.uid), None
    # A path may be a token too; the host is enough to tell from the log where it went.
    webhook.stored_url, webhook.sealed_url = mask_path(webhook.stored_url), None
    webhook.save(update_fields=["deleted_at", "changed_at", *SEALED])
    owed = _some(webhook, IN_LINE, LATER, HELD)
    cancelled = owed.update(state="cancelled", ending="cancelled", due_at=None, finished_at=now)
    after = {"cancelled": cancelled}
    audit.record("webhook.deleted", target=webhook_target(webhook), before=state_before, after=after, now=now)
    return cancelled


def _some(webhook: Webhook, *parts: Part) -> DeliveryQuerySet:
    """Give up to queue.AT_ONCE of what it is owed, locked, part by part."""
    ids: list[UUID] = []
    for part in parts:
        found = Delivery.objects.filter(part.condition, webhook=webhook).order_by(*part.order)
        ids += found.values_list("id", flat=True)[: queue.AT_ONCE - len(ids)]
    states = {part.state for part in parts}
    return Delivery.objects.filter(id__in=ids, state__in=states).in_order(most=queue.AT_ONCE)


# For the review -----------------------------------------------------------------------------------------------------


def to_review() -> list[int]:
    """Give the ids of webhooks whose health the review has to look at."""
    wanted = Q(review_since__isnull=False) | Q(gone_at__isnull=False)
    if settings.HOOKHUB_DISABLE_AFTER_FAILURES:
        # Those that never disable themselves would stand in the way of the others, batch after batch.
        most = settings.HOOKHUB_DISABLE_AFTER_FAILURES
        wanted |= Q(disabled_at=None, deleted_at=None, auto_disable=True, failure_count__gte=most)
    return list(Webhook.objects.filter(wanted).order_by("id").values_list("id", flat=True)[:REVIEW_BATCH])


def lock(webhook_id: int) -> Webhook | None:
    """Give the webhook locked until the transaction ends, or None when it is gone."""
    return Webhook.objects.select_for_update(no_key=True).filter(pk=webhook_id).first()


def mark_reviewed(webhook: Webhook) -> None:
    """Note that the review has seen what there was to see."""
    webhook.review_since = webhook.gone_at = None
    webhook.save(update_fields=["review_since", "gone_at"])


def disabled_event(webhook: Webhook, *, now: datetime) -> NewEvent:
    """Tell the organization's other webhooks that this one has been disabled."""
    return operational(
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
    """Tell whether its secrets, or that it has none, will do for the format and the place it goes to."""
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
    """Give the wanted secret, or one made up; nothing where there is to be none."""
    if wanted is None:
        return "" if wire_format.signs == "never" else wire_format.make_secret()
    return str(wanted)


def _seal(secret: str, *, of: UUID) -> bytes:
    return vault.seal_secrets((Secret(secret),) if secret else (), of=of)


def _switch(webhook: Webhook, *, active: bool | None, now: datetime) -> None:
    """Switch it on or off on its owner's behalf, unless it is so already or nobody asked."""
    if active and not webhook.active:
        enable(webhook, release_held=False, now=now)
    elif active is False and webhook.active:
        disable(webhook, reason=Reason.BY_OWNER, now=now)


def _as_headers(value: object) -> dict[str, str]:
    return value if isinstance(value, dict) else {}


def reseal_all() -> Iterator[bool]:
    """Seal every webhook's secrets with the first key in today's form, and yield whether each had to be.

    Each is committed by itself, so that after an interruption the next run passes over what is done. Raises
    vault.Unreadable and then stops.
    """
    for webhook_id in Webhook.objects.kept().order_by("id").values_list("id", flat=True).iterator():
        with transaction.atomic():
            webhook = lock(webhook_id)
            was_stale = webhook is not None and _reseal(webhook)
        yield was_stale


def wipe_deleted() -> int:
    """Wipe the URLs of webhooks that a version before this deleted without; return how many."""
    wiped = 0
    deleted = Webhook.objects.exclude(deleted_at=None).only("id", "stored_url").order_by("id")
    for webhook in deleted.iterator():
        masked = mask_path(webhook.stored_url)
        if masked != webhook.stored_url:
            # Nobody changes one that is deleted, so it need not be locked first.
            wiped += Webhook.objects.filter(pk=webhook.pk).update(stored_url=masked, sealed_url=None)
    return wiped


def _reseal(webhook: Webhook) -> bool:
    before = [getattr(webhook, name) for name in SEALED]
    secrets, headers = webhook.sealed_secrets, webhook.sealed_headers
    webhook.sealed_secrets = vault.reseal(secrets, column=vault.SECRETS, of=webhook.uid)
    if headers is not None:
        webhook.sealed_headers = vault.reseal(headers, column=vault.HEADERS, of=webhook.uid)
    if webhook.sealed_url is None:
        # What an earlier version stored in the clear is sealed where it would not be shown.
        webhook.url = webhook.stored_url
    else:
        webhook.sealed_url = vault.reseal(webhook.sealed_url, column=vault.URL, of=webhook.uid)
    if before == [getattr(webhook, name) for name in SEALED]:
        return False
    webhook.save(update_fields=SEALED)
    return True
