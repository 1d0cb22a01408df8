"""Changes of a webhook's fields, and what a change implies: a new secret, removed headers, other defaults."""

from collections.abc import Callable, Mapping
from datetime import datetime

from django.conf import settings
from django.db import transaction

from deliveries import vault
from deliveries.audited import webhook_state
from deliveries.formats import FORMATS, MASK, Format, format_of
from deliveries.models import Webhook
from deliveries.proofs import Grant
from deliveries.sending.url import InvalidURL, changes_receiver, normalise
from deliveries.vault import Secret
from deliveries.webhooks import (
    kinds,
    leases,
    lifecycle,
    masks,
    pacing,
    pending_changes,
    quotas,
    recording,
    secrets,
    verifying,
)
from deliveries.webhooks.fields import Fields, InvalidFields, as_headers, require_known_format, validate
from deliveries.webhooks.locking import lock
from deliveries.webhooks.pending_changes import NO_CHANGE, PendingChange

# Fields whose validity depends on the wire format.
DEPEND_ON_FORMAT = frozenset({"url", "content_type", "secret", "headers"})


class ChangedMeanwhile(Exception):
    """The webhook was changed after the caller had read it; nothing was changed now."""


def change(
    webhook_id: int,
    changes: Mapping[str, object],
    *,
    active: bool | None = None,
    unchanged_since: datetime | None = None,
    now: datetime,
) -> tuple[Webhook, str | None]:
    """Change the given fields of a webhook. Return it with its new secret, or with None if the secret is unchanged.

    ``active`` also enables or disables it, in the same transaction; held deliveries stay held. None changes nothing.
    If the URL moves to another receiver (any difference except in the query), a new secret is generated and the custom
    headers are removed, unless ``changes`` contains them. Otherwise someone who may edit a webhook could redirect it
    and obtain messages signed with the old receiver's secret, or the token in its headers. For the same reason, a
    format that masks the URL can be replaced by one that shows it only if ``changes`` contains the URL. A masked value
    stands for the stored one, so that a client can send back what it read. If URLs must be verified, a move takes
    effect, with its secret, headers and format, once the new one is; until then the webhook sends to the old one, and
    calls the move off if it is given that one again. Raise InvalidFields for invalid fields, rates.TooMany, and
    ChangedMeanwhile if the webhook's ``changed_at`` is no longer ``unchanged_since``.
    """
    return _change(webhook_id, lambda _before: changes, active=active, unchanged_since=unchanged_since, now=now)


def change_headers(webhook_id: int, changes: Mapping[str, object], *, now: datetime) -> Webhook:
    """Set the given custom headers, remove those that are None, and keep all others. Raise InvalidFields if invalid."""

    def merged(before: Webhook) -> Mapping[str, object]:
        stored = vault.headers_of(before)
        return {"headers": masks.merge_headers(changes, stored=stored)}

    return _change(webhook_id, merged, active=None, now=now)[0]


def validate_change(webhook: Webhook, changes: Mapping[str, object]) -> None:
    """Raise InvalidFields for every invalid field, as ``change`` would, without changing anything."""
    fields = _unmask(kinds.without_kind(changes, webhook), webhook)
    _require_https(webhook, new_url=fields.get("url"))
    validate(fields, current_format=webhook.format)


def _change(
    webhook_id: int,
    changes_for: Callable[[Webhook], Mapping[str, object]],
    *,
    active: bool | None,
    unchanged_since: datetime | None = None,
    now: datetime,
) -> tuple[Webhook, str | None]:
    """Apply the changes that ``changes_for`` returns for the current webhook. Return and raise as ``change`` does."""
    while True:
        # Validate before locking, because validating a URL may resolve its host name.
        before = Webhook.objects.kept().get(pk=webhook_id)
        changes = kinds.without_kind(changes_for(before), before)
        fields = _unmask(changes, before)
        if fields or active:
            _require_https(before, new_url=fields.get("url"))
        if "url" in fields and not before.has_url(fields["url"]):
            quotas.take_change(before.organization)
        cleaned = validate(fields, current_format=before.format)
        with transaction.atomic():
            webhook = lock(webhook_id)
            if unchanged_since is not None and webhook.changed_at != unchanged_since:
                raise ChangedMeanwhile
            # The validation and the unmasking used the row as it was read. Start over if it has changed since.
            if _validated_against(webhook) == _validated_against(before):
                if "url" in changes:
                    # Also by the URL that the webhook has. Another one is asked for below.
                    pending_changes.call_off_move(webhook, now=now)
                new_secret = _apply(webhook, cleaned, now=now)
                _switch(webhook, active=active, now=now)
                return webhook, new_secret


def _validated_against(webhook: Webhook) -> tuple[object, ...]:
    # Compare the encrypted values without opening them: a change that replaces all of them must succeed even if the
    # webhook's encryption key is lost.
    sealed = (webhook.sealed_url, webhook.sealed_secrets, webhook.sealed_headers)
    return webhook.format, webhook.stored_url, *(None if each is None else bytes(each) for each in sealed)


def _require_https(webhook: Webhook, *, new_url: object) -> None:
    """Raise InvalidFields if HTTPS is required and the webhook would keep an http URL."""
    # ``stored_url`` always contains the scheme, even if the rest of the URL is masked.
    if settings.HOOKHUB_HTTPS_ONLY and new_url is None and webhook.stored_url.startswith("http:"):
        raise InvalidFields({"url": "must begin with https://: HOOKHUB_HTTPS_ONLY is enabled"})


def _unmask(changes: Mapping[str, object], webhook: Webhook) -> Fields:
    """Return ``changes`` with each mask replaced by the stored value. Raise InvalidFields where that is impossible."""
    fields = {name: value for name, value in changes.items() if not (name == "url" and value == webhook.shown_url)}
    moves = "url" in fields and requests_other_receiver(fields["url"], webhook)
    errors: dict[str, str] = {}
    headers = fields.get("headers")
    if isinstance(headers, Mapping) and MASK in headers.values():
        stored = vault.headers_of(webhook)
        try:
            fields["headers"] = masks.unmask_headers(headers, stored=stored, moves=moves)
        except ValueError as error:
            errors["headers"] = str(error)
    if fields.get("secret") == MASK:
        del fields["secret"]
        wire_format = FORMATS.get(str(fields.get("format", webhook.format)))
        if problem := _masked_secret_error(webhook, wire_format, moves=moves):
            errors["secret"] = problem
    if errors:
        raise InvalidFields(errors)
    return fields


def _masked_secret_error(webhook: Webhook, wire_format: Format | None, *, moves: bool) -> str | None:
    """Return why a masked secret cannot stand for the stored one, or None if it can."""
    if not vault.secrets_of(webhook):
        return masks.SEND_THE_SECRET
    if moves:
        return masks.SEND_THE_SECRET_AGAIN
    if wire_format is not None and not secrets.may_be_kept(webhook, wire_format, moves=False):
        return masks.SEND_ANOTHER_SECRET
    return None


def requests_other_receiver(url: object, webhook: Webhook) -> bool:
    """Return whether a requested URL leads to another receiver than the webhook's; False if it is invalid."""
    try:
        return _is_other_receiver(normalise(url), webhook)
    except InvalidURL:
        return False


def _is_other_receiver(url: str, webhook: Webhook) -> bool:
    """Return whether a normalized URL leads to another receiver than the webhook's; True if that is unreadable."""
    try:
        return changes_receiver(url, webhook.url)
    except vault.Unreadable:
        return True


def _apply(webhook: Webhook, cleaned: Fields, *, now: datetime) -> str | None:
    """Change a locked webhook. Return its new secret, or None if the secret is unchanged."""
    state_before = webhook_state(webhook)
    wire_format = format_of(str(cleaned.get("format", webhook.format)))
    moves = "url" in cleaned and _is_other_receiver(str(cleaned["url"]), webhook)
    changes_format = wire_format.slug != webhook.format
    _require_allowed(webhook, cleaned, wire_format=wire_format)
    plan = verifying.plan_change(webhook, cleaned, moves=moves, wire_format=wire_format)
    if changes_format:
        cleaned.setdefault("content_type", wire_format.content_types[0])
        if not moves and "headers" not in cleaned:
            # The new format may itself send a header that is among the custom headers.
            validate({"headers": vault.headers_of(webhook)}, current_format=wire_format.slug)
    new_secret = cleaned.pop("secret", None)
    if new_secret is None and (moves or changes_format) and not secrets.may_be_kept(webhook, wire_format, moves=moves):
        new_secret = secrets.first_secret(wire_format)
    # Another proof that is asked for is that of the URL to which a move leads that waits for one.
    change = NO_CHANGE if plan.asks is None or moves else pending_changes.waiting(webhook)
    if plan.waits:
        change = _take_destination(cleaned, secret=new_secret, wire_format=wire_format, webhook=webhook)
    if new_secret is not None and not plan.waits:
        webhook.sealed_secrets = secrets.seal(str(new_secret), of=webhook.uid)
    if (moves and not plan.waits) or "headers" in cleaned:
        webhook.sealed_headers = vault.seal_headers(as_headers(cleaned.pop("headers", {})), of=webhook.uid)
    _set_fields(webhook, cleaned, now=now)
    if plan.asks is not None and webhook.unverified:
        webhook.proof = plan.asks
    if plan.drops:
        webhook.proof = webhook.verified_at = None
        verifying.set_grant(webhook, Grant(), now=now)
        webhook.verifications.supersede(now=now)
    leases.reconsider(webhook)
    webhook.changed_at = now
    webhook.save(
        update_fields=[
            *(cleaned.keys() - {"url", "expires_at"}), *secrets.SEALED_COLUMNS, *leases.COLUMNS,
            *verifying.PROVED_COLUMNS, "changed_at",
        ]
    )  # fmt: skip
    recording.updated(webhook, before=state_before, after=webhook_state(webhook), now=now)
    if plan.asks is not None:
        verifying.ask(webhook, verifying.NewVerification(plan.asks), change=change, now=now)
    return str(new_secret) if new_secret else None


def _take_destination(cleaned: Fields, *, secret: object, wire_format: Format, webhook: Webhook) -> PendingChange:
    """Take out of the validated fields of a move what waits until the new URL is verified.

    It is complete, so that it stays consistent whatever is changed of the old destination meanwhile.
    """
    cleaned.pop("format", None)
    return PendingChange(
        url=str(cleaned.pop("url")),
        format=wire_format.slug,
        content_type=str(cleaned.pop("content_type", webhook.content_type)),
        # No new one: the webhook has none, and its format allows that. Never the old receiver's.
        secrets=(Secret(str(secret)),) if secret else (),
        headers=as_headers(cleaned.pop("headers", {})),
    )


def _require_allowed(webhook: Webhook, cleaned: Fields, *, wire_format: Format) -> None:
    """Raise InvalidFields if a quota, an unknown format or a URL that would be revealed forbids the change."""
    if "url" in cleaned and not webhook.has_url(cleaned["url"]):
        quotas.require_url_quota(
            str(cleaned["url"]),
            wire_format=wire_format,
            organization=webhook.organization,
            repository=webhook.repository,
        )
    if "payload_filter" in cleaned and webhook.subscription is not None:
        raise InvalidFields({"filter": "cannot be set: its subscriber has said which events it wants"})
    if cleaned.keys() & DEPEND_ON_FORMAT and "format" not in cleaned:
        require_known_format(webhook.format)
    reveals = format_of(webhook.format).url_is_secret and not wire_format.url_is_secret
    if reveals and not webhook.is_polled and "url" not in cleaned:
        raise InvalidFields(
            {"url": f"is required: the format {wire_format.slug} would reveal the URL, which is masked now"}
        )


def _set_fields(webhook: Webhook, cleaned: Fields, *, now: datetime) -> None:
    """Set the validated fields; the URL last, because the format decides how much of it is masked."""
    if "expires_at" in cleaned:
        leases.set_lease(webhook, leases.require_future(cleaned["expires_at"], now=now), now=now)
    # Assign the current URL again if the format changes: the new format may mask more of it, or less.
    url = cleaned.get("url", webhook.url if "format" in cleaned else None)
    for name in cleaned.keys() - {"url", "expires_at"}:
        setattr(webhook, name, cleaned[name])
    if "rate_requests" in cleaned:
        pacing.set_pace(webhook, now=now)
    if url is not None:
        webhook.url = str(url)


def _switch(webhook: Webhook, *, active: bool | None, now: datetime) -> None:
    """Enable or disable a locked webhook for its owner; do nothing if ``active`` is None or already the case."""
    if active and not webhook.active:
        lifecycle.enable_locked(webhook, release_held=False, now=now)
    elif active is False and lifecycle.can_disable(webhook):
        lifecycle.disable_locked(webhook, reason=Webhook.DisabledReason.BY_OWNER, now=now)
