"""Verifications: ask a webhook's URL for a proof, and do what follows from its answer or its silence."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit
from uuid import UUID

from django.db import transaction
from django.db.models import Prefetch, QuerySet

from deliveries import audit, vault
from deliveries.audited import webhook_state, webhook_target
from deliveries.db.ids import uuid7
from deliveries.db.lookups import find_one
from deliveries.failpoints import hit
from deliveries.formats import Format, format_of
from deliveries.models import Organization, Verification, Webhook
from deliveries.plain_text import printable
from deliveries.policy.outcomes import NoResponse
from deliveries.proofs import DEFAULT, OWNERS, PROOFS, Asked, Grant, Refused, Reply
from deliveries.proofs.handshake import Handshake
from deliveries.sending.exchange import Exchange
from deliveries.webhooks import kinds, leases, lifecycle, pacing, pending_changes, quotas, recording
from deliveries.webhooks.fields import Fields, InvalidFields
from deliveries.webhooks.locking import lock
from deliveries.webhooks.pending_changes import NO_CHANGE, PendingChange
from deliveries.webhooks.verification_details import details_of, own_name
from deliveries.webhooks.verification_log import with_entry
from deliveries.webhooks.verification_queue import VerificationClaim

State, Mode = Verification.State, Verification.Mode

# The delays after each failure but the last: long enough for a deployment of the receiver, short enough to wait for.
SCHEDULE = (timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=5))
# How long a webhook that was never verified is kept for its owner to see why, and to ask again.
KEPT_FOR = timedelta(days=7)
MAX_EXCERPT = 200
MAX_ERROR = 500
# The columns that a proof sets.
PROVED_COLUMNS = ("proof", "verified_at", "request_origin", "allowed_rate", *pacing.PACE_COLUMNS)


class NewVerification(NamedTuple):
    """The proof to ask for, and what it leads to.

    ``details`` are what the proof's request carries, and ``lasts`` the lease that is granted from the proof on (None
    leaves the webhook's end as it is). A webhook that was never verified is deleted ``kept_for`` after it has failed.
    """

    proof: str = DEFAULT
    details: Mapping[str, str] = MappingProxyType({})
    lasts: timedelta | None = None
    kept_for: timedelta = KEPT_FOR


class Plan(NamedTuple):
    """What verification a change of a webhook implies.

    If it ``waits``, the new destination takes effect once it is verified. ``asks`` is the proof to ask the URL for now,
    or None; ``drops`` says that the webhook needs none any more.
    """

    waits: bool
    asks: str | None
    drops: bool


def required_proof(cleaned: Fields, *, organization: Organization, current: str | None = None) -> str | None:
    """Take ``verify`` out of validated fields; return the proof that the URL must give, or None.

    That is the one its owner has chosen or, by default, the ``current`` one of the webhook or the one that its
    organization demands. Raise InvalidFields if the owner has chosen none, and the organization demands one.
    """
    demanded = DEFAULT if organization.verify_webhooks else None
    if "verify" not in cleaned:
        return current or demanded
    chosen = cleaned.pop("verify")
    if chosen is None and demanded is not None:
        raise InvalidFields({"verify": "cannot be null: the organization has the URLs of all webhooks verified"})
    # A subscriber proves itself as its protocol says, whatever else is asked for.
    is_owners = current is None or current in OWNERS
    return None if chosen is None else str(chosen) if is_owners else current


def plan_change(webhook: Webhook, cleaned: Fields, *, moves: bool, wire_format: Format) -> Plan:
    """Take ``verify`` out of validated fields; return what the change of a locked webhook implies.

    ``moves`` says that the URL leads to another receiver. Raise InvalidFields as ``required_proof`` and
    ``require_provable`` do.
    """
    if webhook.is_polled:
        return Plan(waits=False, asks=None, drops=False)
    is_asked = "verify" in cleaned
    proof = required_proof(cleaned, organization=webhook.organization, current=webhook.proof)
    if moves or is_asked or wire_format.slug != webhook.format:
        require_provable(wire_format, proof=proof if moves or is_asked else webhook.proof)
    if proof is not None:
        asks = proof if moves or (is_asked and webhook.proof != proof) else None
        return Plan(waits=moves and not webhook.unverified, asks=asks, drops=False)
    # What the old URL may still answer says nothing about the new one.
    pending = webhook.verifications.open().first() if moves and not is_asked else None
    return Plan(waits=False, asks=None if pending is None else pending.proof, drops=is_asked)


def require_provable(wire_format: Format, *, proof: str | None) -> None:
    """Raise InvalidFields if receivers of this format, a chat service's, echo no challenge, or we have no name."""
    if proof == Handshake.slug and not own_name():
        raise InvalidFields({"verify": f"cannot be {proof}: HOOKHUB_PUBLIC_URL, whose host is asked by, is not set"})
    if proof is not None and wire_format.url_is_secret:
        raise InvalidFields(
            {"format": f"cannot be {wire_format.slug} where the URL must be verified: its receivers echo no challenge"}
        )


def with_latest(webhooks: "QuerySet[Webhook]") -> "QuerySet[Webhook]":
    """Load with the webhooks, by one query for all of them, what ``latest_of`` returns for each."""
    latest = Verification.objects.order_by("webhook", "-id").distinct("webhook")
    return webhooks.prefetch_related(Prefetch("verifications", latest, to_attr="latest_verifications"))


def latest_of(webhook: Webhook) -> Verification | None:
    """Return the latest verification of a webhook, or None."""
    loaded: list[Verification] | None = getattr(webhook, "latest_verifications", None)
    if loaded is not None:
        return loaded[0] if loaded else None
    return webhook.verifications.order_by("-id").first()


def verify(webhook_id: int, *, now: datetime) -> Webhook:
    """Ask a webhook's URL for a proof, again or for the first time; a change that is waiting for one keeps waiting.

    Until the URL has proved itself, the webhook stays as it is. Raise Webhook.DoesNotExist if it is deleted,
    InvalidFields if its format allows no proof, and rates.TooMany.
    """
    quotas.take_change(Webhook.objects.kept().select_related("organization").get(pk=webhook_id).organization)
    with transaction.atomic():
        webhook = lock(webhook_id)
        if webhook.is_polled:
            raise InvalidFields({"verify": kinds.SENDS_NOTHING})
        last = webhook.verifications.open().select_for_update().first()
        if last is not None and last.state == State.PENDING:
            Verification.objects.filter(pk=last.pk).update(due_at=now, failures=0, attempts_made=0)
        elif last is None:
            latest = latest_of(webhook)
            proof = webhook.proof or (DEFAULT if latest is None else latest.proof)
            require_provable(format_of(webhook.format), proof=proof)
            ask(webhook, NewVerification(proof), now=now)
    return webhook


def ask(
    webhook: Webhook,
    new: NewVerification,
    *,
    change: PendingChange = NO_CHANGE,
    mode: Verification.Mode = Mode.SUBSCRIBE,
    now: datetime,
) -> Verification:
    """Ask the URL of a locked webhook, or the one in ``change``, for a proof; a worker sends the request.

    Once the URL has proved itself, the webhook gets the ``change`` and the lease, or is deleted if the ``mode`` is to
    unsubscribe. If it does not within the schedule, nothing changes. Supersedes an earlier verification.
    """
    webhook.verifications.supersede(now=now)
    webhook.verifications.filter(forget_at__isnull=False).update(forget_at=None)
    uid = uuid7(now)
    asked = Verification.objects.create(
        id=uid,
        webhook=webhook,
        proof=new.proof,
        mode=mode,
        details=dict(new.details) or details_of(webhook, proof=new.proof),
        host=urlsplit(webhook.url if change.url is None else change.url).hostname or "",
        stored_url=pending_changes.shown_url(change, webhook),
        sealed_change=pending_changes.seal(change, of=uid),
        lasts=new.lasts,
        kept_for=new.kept_for,
        due_at=now,
        created_at=now,
    )
    after = {"verification": uid, "url": asked.stored_url, "mode": mode.value}
    audit.record("webhook.verification_started", target=webhook_target(webhook), after=after, now=now)
    return asked


def conclude(claim: VerificationClaim, exchange: Exchange, *, now: datetime) -> Verification.State | None:
    """Record the result of a verification's request and do what follows; return the verification's new state.

    Fenced by the lease, so that of two processes only one concludes: return None if it was lost, or if the verification
    was superseded meanwhile, and change nothing.
    """
    if claim.webhook_id is None:
        return _conclude_denial(claim, exchange, now=now)
    with transaction.atomic():
        # Locked in the same order as by ``ask``.
        webhook = find_one(Webhook.objects.kept().locked().filter(pk=claim.webhook_id))
        held = Verification.objects.select_for_update().filter(pk=claim.id, lease=claim.lease)
        verification = held.first()
        if verification is None:
            return None
        verification.lease = verification.leased_until = verification.challenge = None
        if webhook is None or verification.state != State.SENDING:
            verification.save(update_fields=["lease", "leased_until", "challenge"])
            return None
        judged = _record(verification, claim, exchange)
        change = NO_CHANGE
        if isinstance(judged, Grant):
            try:
                change = pending_changes.unseal(verification.sealed_change, of=verification.id)
            except vault.Unreadable as error:
                judged = Refused(f"The change cannot be decrypted: {error}", is_final=True)
        _log(verification, judged)
        if isinstance(judged, Grant):
            _finish(verification, State.VERIFIED, now=now)
            # Saved first: deleting the webhook would supersede it otherwise.
            verification.save()
            _prove(webhook, verification, change, judged, now=now)
        else:
            is_final = judged.is_final or not PROOFS[verification.proof].is_repeated
            _fail(webhook, verification, is_final=is_final, now=now)
            verification.save()
        hit("verification-half-concluded")
    return State(verification.state)


def _conclude_denial(claim: VerificationClaim, exchange: Exchange, *, now: datetime) -> Verification.State | None:
    """Do what follows from the answer to a denial, of which no record is kept; return as ``conclude``."""
    with transaction.atomic():
        denial = find_one(Verification.objects.select_for_update().filter(pk=claim.id, lease=claim.lease))
        if denial is None:
            return None
        response = exchange.result
        was_told = not isinstance(response, NoResponse) and (200 <= response.status < 300 or response.status == 410)
        if was_told or denial.failures == len(SCHEDULE):
            denial.delete()
            return State.VERIFIED if was_told else State.FAILED
        denial.lease = denial.leased_until = denial.challenge = None
        denial.state, denial.due_at = State.PENDING, now + SCHEDULE[denial.failures]
        denial.failures += 1
        denial.save()
    return State.PENDING


def _record(verification: Verification, claim: VerificationClaim, exchange: Exchange) -> Refused | Grant:
    """Set what the owner can read of the request; return why the answer is no proof, or what it grants."""
    verification.last_started_at, verification.last_duration = claim.started_at, exchange.duration
    verification.last_status, verification.last_excerpt, verification.last_error = None, "", ""
    verification.last_failure = ""
    response = exchange.result
    if isinstance(response, NoResponse):
        verification.last_failure = response.kind
        return Refused(response.error)
    verification.last_status = response.status
    verification.last_excerpt = printable(response.body[:MAX_EXCERPT])
    reply = Reply(response.status, response.headers, response.body)
    proof, asked = PROOFS[verification.proof], Asked(claim.challenge, verification.details)
    return proof.refusal(reply, asked) or proof.grant(reply, asked) or Grant()


def _log(verification: Verification, judged: Refused | Grant) -> None:
    """Add the last request, as it was recorded and judged, to those that the owner can read."""
    verification.last_error = printable(judged.reason)[:MAX_ERROR] if isinstance(judged, Refused) else ""
    verification.requests = with_entry(
        verification.requests,
        started_at=verification.last_started_at or verification.created_at,
        duration=verification.last_duration or timedelta(0),
        status=verification.last_status,
        excerpt=verification.last_excerpt,
        error=verification.last_error,
        is_proved=isinstance(judged, Grant),
    )


def _prove(webhook: Webhook, verification: Verification, change: PendingChange, grant: Grant, *, now: datetime) -> None:
    """Apply what the proof leads to and grants, to a locked webhook."""
    if verification.mode == Mode.UNSUBSCRIBE:
        lifecycle.end_subscription_locked(webhook, now=now)
        return
    before = webhook_state(webhook)
    pending_changes.apply(change, webhook)
    webhook.proof, webhook.verified_at, webhook.changed_at = verification.proof, now, now
    set_grant(webhook, grant, now=now)
    if verification.lasts is not None:
        leases.set_lease(webhook, now + verification.lasts, warns=PROOFS[verification.proof].warns_owner, now=now)
    leases.reconsider(webhook)
    webhook.save(update_fields=[*PROVED_COLUMNS, "changed_at", *pending_changes.COLUMNS, *leases.COLUMNS])
    recording.verified(webhook, before=before, after=webhook_state(webhook), now=now)


def set_grant(webhook: Webhook, grant: Grant, *, now: datetime) -> None:
    """Set what the receiver of a locked webhook grants; the caller saves PROVED_COLUMNS. Its owner's limit stays."""
    webhook.request_origin, webhook.allowed_rate = grant
    pacing.set_pace(webhook, now=now)


def _fail(webhook: Webhook, verification: Verification, *, is_final: bool, now: datetime) -> None:
    """Make the verification due again after the next delay, or give up."""
    verification.failures += 1
    if is_final or verification.failures > len(SCHEDULE):
        _finish(verification, State.FAILED, now=now)
        verification.forget_at = now + verification.kept_for
        after = {"verification": verification.id, "error": verification.last_error}
        audit.record("webhook.verification_failed", target=webhook_target(webhook), after=after, now=now)
    else:
        verification.state, verification.due_at = State.PENDING, now + SCHEDULE[verification.failures - 1]


def _finish(verification: Verification, state: Verification.State, *, now: datetime) -> None:
    verification.state, verification.finished_at, verification.sealed_change = state, now, None


def forget(verification_id: UUID, *, webhook_id: int | None, now: datetime) -> bool:
    """Delete the webhook of a failed verification if it never was verified, and return whether it was to be deleted.

    Also if it is a subscription whose lease has ended meanwhile; one that its owner has disabled is kept, as ended.
    Asking again cancels this.
    """
    if webhook_id is None:
        # A denial whose requests have all been lost.
        Verification.objects.filter(pk=verification_id, forget_at__lte=now).delete()
        return False
    with transaction.atomic():
        webhook = find_one(Webhook.objects.kept().locked().filter(pk=webhook_id))
        is_due = Verification.objects.filter(pk=verification_id, forget_at__lte=now).update(forget_at=None)
        if not is_due or webhook is None:
            return False
        if not webhook.unverified and (webhook.subscription is None or webhook.ended_at is None):
            return False
        if webhook.subscription is None:
            lifecycle.delete_locked(webhook, now=now)
        else:
            lifecycle.end_subscription_locked(webhook, now=now)
    return True
