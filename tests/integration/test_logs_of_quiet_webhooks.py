"""The log of a webhook that has been quiet for long is read by its index, not among all newer rows of others."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from deliveries import explanations
from deliveries.models import Webhook
from deliveries.redelivery import Selection
from deliveries.webhooks import lifecycle
from hookhub.dialects.sigmagit import log as sigmagit_log
from hookhub.dialects.social_gateway.representation import with_last_attempt
from tests.api import Caller
from tests.integration.test_admin_beside_a_huge_tenant import measured
from tests.story import Forge

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("new_files")]

# Half of what the quiet webhook has: failed deliveries, and held ones. A page counts the latter.
OLD, NEWER = 3000, 6000

FILL = """
INSERT INTO hookhub_delivery (
    id, event_id, webhook_id, organization_id, event_type, created_at, state, finish_reason, finished_at,
    readiness, failures, lease_losses, redeliveries, attempts_made
)
SELECT (lpad(to_hex(%(from)s + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, gen_random_uuid(),
       %(webhook)s, %(organization)s, 'push', %(now)s, %(state)s,
       CASE %(state)s WHEN 'failed' THEN 'exhausted' END,
       CASE %(state)s WHEN 'failed' THEN %(now)s::timestamptz END, 0, 0, 0, 0, 0
FROM generate_series(1, %(count)s) AS n
"""
ATTEMPTS = """
INSERT INTO hookhub_attempt (
    id, delivery_id, webhook_id, number, started_at, url, request_headers, outcome, response_headers, response_body,
    error
)
SELECT id, id, webhook_id, 1, created_at, '', '', 'failed', '', '', '' FROM hookhub_delivery
"""


@pytest.fixture
def quiet(forge: Forge, now: datetime) -> Webhook:
    """Create a webhook with a third of the log, all of it older than what another one has."""
    quiet, busy = forge.webhook(now=now), forge.webhook(now=now)
    start = int((now - timedelta(days=1)).timestamp() * 1000)
    rows = [(quiet, start, OLD, "failed"), (quiet, start + OLD, OLD, "held"), (busy, start + 2 * OLD, NEWER, "failed"),
            (busy, start + 2 * OLD + NEWER, NEWER, "held")]  # fmt: skip
    with connection.cursor() as cursor:
        for webhook, first, count, state in rows:
            parameters: dict[str, Any] = {"webhook": webhook.pk, "organization": forge.organization.pk, "now": now}
            cursor.execute(FILL, {**parameters, "from": first, "count": count, "state": state})
        cursor.execute(ATTEMPTS)
        cursor.execute("ANALYZE hookhub_delivery, hookhub_attempt, hookhub_webhook")
    return quiet


@pytest.fixture
def reads(forge: Forge, admin_client: Client, quiet: Webhook) -> dict[str, Callable[[], object]]:
    api = Caller.of(forge.organization)
    selected = Selection(forge.organization.pk, webhook_id=quiet.pk)
    page = f"/v1/deliveries?organization={forge.organization.slug}&webhook={quiet.uid}"
    return {
        "API": lambda: api.get(page),
        "API, failed": lambda: api.get(f"{page}&state=failed"),
        "replay": lambda: list(selected.deliveries().order_by("id").values_list("id", flat=True)[:500]),
        "admin, deliveries": lambda: admin_client.get(f"/admin/deliveries/delivery/?webhook={quiet.uid}"),
        "admin, attempts": lambda: admin_client.get(f"/admin/deliveries/attempt/?webhook={quiet.uid}"),
        "admin, webhook": lambda: admin_client.get(f"/admin/deliveries/webhook/{quiet.pk}/change/"),
        "explanation": lambda: explanations.last_failure_of(quiet),
        "Sigmagit": lambda: sigmagit_log.newest(quiet),
        "social gateway": lambda: list(with_last_attempt(Webhook.objects.filter(pk=quiet.pk))),
        "held": lambda: list(lifecycle.HELD.of(quiet)[:100]),
    }


def test_only_its_own_rows_are_read(reads: dict[str, Callable[[], object]]) -> None:
    read, too_many = {}, {}
    for name, run in reads.items():
        with measured() as rows:
            run()
        read[name] = max(rows.values())
        too_many |= {(name, sql): most for sql, most in rows.items() if most > OLD}

    assert too_many == {}
    assert min(read.values()) > 0
