"""Why a delivery cannot be redelivered, and how the admin explains that."""

from datetime import UTC, datetime

import pytest

from deliveries.models import Delivery, Webhook
from deliveries.redelivery import BlockedReason, blocked_reason
from hookhub.explanations import explain

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ACTIVE: dict[str, datetime] = {}
DISABLED = {"disabled_at": NOW}
DELETED = {"deleted_at": NOW}


def delivery_of(webhook: dict[str, datetime], state: str) -> Delivery:
    reason = "by_owner" if "disabled_at" in webhook else None
    return Delivery(
        state=state, attempts_made=1, finish_reason="exhausted", webhook=Webhook(**webhook, disabled_reason=reason)
    )


@pytest.mark.parametrize("state", Delivery.State.values)
@pytest.mark.parametrize(
    ("webhook", "reason"),
    [
        (ACTIVE, None),
        (DISABLED, BlockedReason.WEBHOOK_DISABLED),
        (DELETED, BlockedReason.WEBHOOK_DELETED),
        (DISABLED | DELETED, BlockedReason.WEBHOOK_DELETED),
    ],
    ids=["active", "disabled", "deleted", "disabled and deleted"],
)
def test_the_reason_is_the_attempt_in_progress_then_the_webhook(
    webhook: dict[str, datetime], reason: BlockedReason | None, state: str
) -> None:
    assert blocked_reason(delivery_of(webhook, state)) == (BlockedReason.SENDING if state == "sending" else reason)


EXPLANATIONS = [
    ("failed", ACTIVE, "Failed on attempt 1: retry schedule exhausted. It can be redelivered."),
    (
        "failed",
        DISABLED,
        "Failed on attempt 1: retry schedule exhausted. It can be redelivered once the webhook is enabled.",
    ),
    (
        "failed",
        DELETED,
        "Failed on attempt 1: retry schedule exhausted. It cannot be redelivered, because the webhook is deleted.",
    ),
    ("cancelled", ACTIVE, "Cancelled. It can be redelivered."),
    ("cancelled", DISABLED, "Cancelled. It can be redelivered once the webhook is enabled."),
    ("cancelled", DELETED, "Cancelled. It cannot be redelivered, because the webhook is deleted."),
    ("cancelled", DISABLED | DELETED, "Cancelled. It cannot be redelivered, because the webhook is deleted."),
    (
        "held",
        DISABLED,
        "Held because the webhook is disabled (by its owner). It can be redelivered once the webhook is enabled.",
    ),
    (
        "held",
        DISABLED | DELETED,
        "Held while the webhook was disabled. It will be cancelled, because the webhook is deleted.",
    ),
]


@pytest.mark.parametrize(("state", "webhook", "sentence"), EXPLANATIONS)
def test_the_explanation_promises_a_redelivery_only_where_it_is_possible(
    state: str, webhook: dict[str, datetime], sentence: str
) -> None:
    delivery = delivery_of(webhook, state)

    assert explain(delivery, delivery.webhook, now=NOW) == sentence
