"""Creation of webhooks."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from deliveries import vault
from deliveries.audited import webhook_state
from deliveries.db import sql
from deliveries.db.ids import uuid7
from deliveries.formats import FORMATS
from deliveries.models import Organization, PollQueue, Repository, Webhook
from deliveries.webhooks import kinds, leases, pacing, quotas, recording, secrets, verifying
from deliveries.webhooks.fields import Fields, InvalidFields, as_headers, validate
from deliveries.webhooks.verifying import NewVerification

LOCK_REPOSITORY = "SELECT id FROM hookhub_repository WHERE id = %(repository)s FOR NO KEY UPDATE"


def create(
    fields: Mapping[str, object],
    *,
    organization: Organization,
    repository: Repository | None,
    active: bool = True,
    uid: UUID | None = None,
    now: datetime,
) -> tuple[Webhook, str | None]:
    """Create a webhook. Return it with its secret, which is shown only here, or with None if it has no secret.

    ``fields`` maps the names in fields.VALIDATORS, and ``kind``, to values; only ``events`` and, except of a polling
    webhook, ``url`` are required. Without ``secret``, one is generated. There is no secret if the format never signs,
    or if signing is optional and ``secret`` is "". With ``active=False`` the webhook starts disabled by its owner. If
    its owner or its organization wants its URL verified, a worker asks it, and nothing is delivered before the answer.
    With a ``uid``, a second call for the same webhook raises django.db.IntegrityError and creates none. Raise
    InvalidFields for invalid fields, and rates.TooMany if the organization changes webhooks too often.
    """
    kind, fields = kinds.take_kind(fields)
    required = ("events",) if kind == Webhook.Kind.POLL else ("url", "events")
    if missing := {name: "is required" for name in required if name not in fields}:
        raise InvalidFields(missing)
    quotas.take_change(organization)
    cleaned = validate({"format": organization.wire_format, **fields})
    wire_format = FORMATS[str(cleaned["format"])]
    proof = None if kind == Webhook.Kind.POLL else verifying.required_proof(cleaned, organization=organization)
    verifying.require_provable(wire_format, proof=proof)
    with transaction.atomic():
        quotas.require_webhook_quota(organization)
        if "url" in cleaned:
            quotas.require_url_quota(
                str(cleaned["url"]), wire_format=wire_format, organization=organization, repository=repository
            )
        # Deleting a repository locks it and then deletes its webhooks; the lock keeps this webhook from being missed.
        if repository and not sql.run(LOCK_REPOSITORY, {"repository": repository.pk}):
            raise InvalidFields({"repository": "was deleted in the meantime"})
        return insert(
            cleaned,
            kind=kind,
            organization=organization,
            repository=repository,
            active=active,
            verification=None if proof is None else NewVerification(proof),
            uid=uid,
            now=now,
        )


def insert(
    cleaned: Fields,
    *,
    kind: Webhook.Kind = Webhook.Kind.PUSH,
    organization: Organization,
    repository: Repository | None,
    active: bool = True,
    verification: NewVerification | None,
    uid: UUID | None = None,
    now: datetime,
) -> tuple[Webhook, str | None]:
    """Insert a webhook with validated fields, and start its ``verification``, if any; return as ``create``.

    The caller has locked the repository in its transaction.
    """
    wire_format = FORMATS[str(cleaned["format"])]
    defaults = {"content_type": wire_format.content_types[0], "auto_disable": wire_format.policy.auto_disable}
    secret = secrets.first_secret(wire_format, cleaned.pop("secret", None))
    headers = as_headers(cleaned.pop("headers", {}))
    expires_at = leases.require_future(cleaned.pop("expires_at", None), now=now)
    # Needed before the row is stored, because its secrets are encrypted with the id as associated data.
    uid = uid or uuid7(now)
    webhook = Webhook(
        organization=organization,
        repository=repository,
        uid=uid,
        kind=kind,
        sealed_secrets=secrets.seal(secret, of=uid),
        sealed_headers=vault.seal_headers(headers, of=uid),
        created_at=now,
        changed_at=now,
        disabled_at=None if active else now,
        disabled_reason=None if active else Webhook.DisabledReason.BY_OWNER,
        owner_notified_at=None if active else now,
        proof=verification and verification.proof,
        **{**defaults, **cleaned},
    )
    leases.set_lease(webhook, expires_at, now=now)
    pacing.set_pace(webhook, now=now)
    webhook.save(force_insert=True)
    if webhook.is_polled:
        PollQueue.objects.create(webhook=webhook)
    recording.created(webhook, webhook_state(webhook), now=now)
    if verification is not None:
        verifying.ask(webhook, verification, now=now)
    return webhook, secret or None
