"""The queue of verifications: claim those that are due, one for each host, and build their requests."""

from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID, uuid4

from django.db import transaction

from deliveries import vault
from deliveries.db import sql
from deliveries.formats import format_of
from deliveries.formats.websub import WebSub
from deliveries.models import Verification, Webhook
from deliveries.proofs import PROOFS, Question, make_challenge
from deliveries.sending.exchange import Request
from deliveries.webhooks import pending_changes
from deliveries.webhooks.verification_log import WITH_LOST

State = Verification.State
# In place of the webhook of a denial.
NO_WEBHOOK = Webhook(format=WebSub.slug, sealed_secrets=b"")

TIMEOUT = timedelta(seconds=10)
# Longer than any request takes, with room for a pause of its process.
LEASE = timedelta(seconds=30)
# After this many claims it fails: its requests, or their responses, take their processes down.
MAX_ATTEMPTS = 20
# How many of a worker's free slots are kept for proofs that the holder of an API key waits for.
RESERVED = 2
# An arbitrary number, the same in every worker of a deployment.
CLAIM_LOCK = 7_305_665


class VerificationClaim(NamedTuple):
    """A leased verification: what its request is built from and judged by."""

    id: UUID
    lease: UUID
    # None for a denial.
    webhook_id: int | None
    challenge: str
    started_at: datetime


def claim(limit: int, *, now: datetime) -> list[VerificationClaim]:
    """Claim up to ``limit`` due verifications for one request each, and at most one for each host.

    A host that has a request in flight, of any worker, has to wait. Claims are made one after another; the unique
    index on the host guards the same. Requests whose lease has expired are repeated, with another challenge. Those of
    the hub, which take no key, come last, and do not get the last RESERVED.
    """
    if not sql.run(IS_ANYTHING_DUE, {"now": now})[0][0]:
        return []
    with transaction.atomic():
        sql.run("SELECT pg_advisory_xact_lock(%(key)s)", {"key": CLAIM_LOCK})
        sql.run(RELEASE_EXPIRED, {"now": now, "most": MAX_ATTEMPTS, "lasts": LEASE})
        claims = _lease(FIND_DUE, limit, now=now)
        claims += _lease(FIND_DUE_OF_HUB, limit - RESERVED - len(claims), now=now)
    return claims


def _lease(statement: str, limit: int, *, now: datetime) -> list[VerificationClaim]:
    """Lease what the statement finds; what it finds next has other hosts."""
    found = sql.run(statement, {"now": now, "limit": limit}) if limit > 0 else ()
    claims = [VerificationClaim(uid, uuid4(), webhook_id, make_challenge(), now) for uid, webhook_id in found]
    for each in claims:
        params = {"id": each.id, "lease": each.lease, "until": now + LEASE, "challenge": each.challenge}
        sql.run(LEASE_ONE, params)
    return claims


def request_of(claimed: VerificationClaim, *, now: datetime) -> Request | None:
    """Return the request of a claimed verification, or None if it was superseded.

    It is signed with the secrets, and has the custom headers, that the webhook gets once the proof is there. Raise
    vault.Unreadable, and vault.NoLiveSecret.
    """
    found = Verification.objects.select_related("webhook").filter(pk=claimed.id, lease=claimed.lease)
    verification = found.filter(state=State.SENDING).first()
    if verification is None:
        return None
    webhook = verification.webhook or NO_WEBHOOK
    change = pending_changes.unseal(verification.sealed_change, of=verification.id)
    headers = vault.headers_of(webhook) if change.headers is None else change.headers
    ask = PROOFS[verification.proof].build(
        Question(
            id=str(verification.id),
            mode=verification.mode,
            url=webhook.url if change.url is None else change.url,
            challenge=claimed.challenge,
            details=verification.details,
            lasts=_lease_of(verification, webhook, now=now),
            secrets=_secrets(webhook, change, now=now),
            sent_at=now,
        )
    )
    own = {name.lower() for name, _ in ask.headers}
    custom = tuple((name, value) for name, value in headers.items() if name.lower() not in own)
    return Request(ask.url, (*ask.headers, *custom), ask.body, TIMEOUT, webhook.verify_ssl, ask.method)


def _lease_of(verification: Verification, webhook: Webhook, *, now: datetime) -> timedelta | None:
    """Return how long the webhook lasts once the proof is there; None if it has no end, or has ended."""
    if verification.lasts is None and webhook.expires_at is not None and not webhook.has_ended(now=now):
        return webhook.expires_at - now
    return verification.lasts


def _secrets(webhook: Webhook, change: pending_changes.PendingChange, *, now: datetime) -> tuple[str, ...]:
    """Return the secrets to sign with; none only if the webhook has none, as for its deliveries."""
    secrets = vault.secrets_of(webhook) if change.secrets is None else change.secrets
    if not secrets and format_of(change.format or webhook.format).secret_policy.allows_none:
        return ()
    if not (live := tuple(secret.text for secret in secrets if secret.is_live(now))):
        raise vault.NoLiveSecret
    return live


IS_ANYTHING_DUE = """
SELECT EXISTS (SELECT FROM hookhub_verification WHERE state = 'pending' AND proof <> 'websub' AND due_at <= %(now)s)
    OR EXISTS (SELECT FROM hookhub_verification WHERE state = 'pending' AND proof = 'websub' AND due_at <= %(now)s)
    OR EXISTS (SELECT FROM hookhub_verification WHERE lease IS NOT NULL AND leased_until < %(now)s)
"""

# The processes that held these leases have died, or were suspended. A request of unknown outcome is repeated and uses
# no step of the schedule.
RELEASE_EXPIRED = f"""
WITH lost AS MATERIALIZED (
    SELECT id FROM hookhub_verification WHERE lease IS NOT NULL AND leased_until < %(now)s
    ORDER BY id LIMIT 1000 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE hookhub_verification v
SET lease = NULL, leased_until = NULL, challenge = NULL,
    requests = CASE WHEN state = 'sending' THEN {WITH_LOST} ELSE requests END,
    state = CASE WHEN state <> 'sending' THEN state WHEN attempts_made < %(most)s THEN 'pending' ELSE 'failed' END,
    due_at = CASE WHEN state = 'sending' AND attempts_made < %(most)s THEN %(now)s::timestamptz END,
    finished_at = CASE WHEN state = 'sending' AND attempts_made >= %(most)s THEN %(now)s ELSE finished_at END,
    forget_at = CASE WHEN state = 'sending' AND attempts_made >= %(most)s THEN %(now)s + kept_for ELSE forget_at END,
    sealed_change = CASE WHEN attempts_made < %(most)s THEN sealed_change END
FROM lost WHERE v.id = lost.id
"""

# A loose index scan over the hosts: a host with very many verifications costs no more than one with a single one, and
# does not delay the others. The hub's have an index of their own: without a key, a client could fill the queue of
# any host, and with hosts that answer slowly that of all.
_FIND_DUE = """
WITH RECURSIVE heads AS (
    (SELECT id, host, due_at FROM hookhub_verification WHERE state = 'pending' AND {kind} ORDER BY host, due_at LIMIT 1)
    UNION ALL
    SELECT next.* FROM heads CROSS JOIN LATERAL (
        SELECT id, host, due_at FROM hookhub_verification
        WHERE state = 'pending' AND {kind} AND host > heads.host ORDER BY host, due_at LIMIT 1
    ) AS next
), due AS MATERIALIZED (
    SELECT id FROM heads
    WHERE due_at <= %(now)s
      AND NOT EXISTS (SELECT FROM hookhub_verification s WHERE s.host = heads.host AND s.lease IS NOT NULL)
    ORDER BY due_at LIMIT %(limit)s
)
SELECT id, webhook_id FROM hookhub_verification
WHERE id = ANY(ARRAY(SELECT id FROM due)) AND state = 'pending'
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED
"""
FIND_DUE = _FIND_DUE.format(kind="proof <> 'websub'")
FIND_DUE_OF_HUB = _FIND_DUE.format(kind="proof = 'websub'")

LEASE_ONE = """
UPDATE hookhub_verification
SET state = 'sending', lease = %(lease)s, leased_until = %(until)s, challenge = %(challenge)s, due_at = NULL,
    attempts_made = attempts_made + 1
WHERE id = %(id)s
"""
