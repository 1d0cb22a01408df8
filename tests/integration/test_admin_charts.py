"""The admin's charts: of all organizations on the front page of an operator, of one webhook on its own page."""

from datetime import datetime, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from deliveries.maintenance.hourly_stats import HourlyCounting
from deliveries.models import Attempt, HourlyStats
from deliveries.sending.sender import Sender
from tests.admin_pages import page, page_of
from tests.integration.test_admin_access import staff
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def hour() -> datetime:
    """Return the beginning of the hour before this one, in which the attempts of these tests end."""
    return timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)


def deliver(forge: Forge, count: int, *, at: datetime, sender: Sender) -> None:
    forge.accept(count, now=at)
    deliver_due(sender, now=at)


def test_each_sees_the_attempts_of_its_own_organizations(
    forge: Forge, admin_client: Client, sender: Sender, hour: datetime
) -> None:
    other = Forge.make(forge.receiver, "globex")
    for one, count in ((forge, 2), (other, 3)):
        one.webhook(now=hour)
        deliver(one, count, at=hour, sender=sender)
    HourlyCounting().tick(now=timezone.now())

    assert "Attempts, 24h: 5 delivered, 0 failed" in page(admin_client, "/admin/")
    assert "Attempts, 24h: 2 delivered, 0 failed" in page(staff(forge.organization), "/admin/")
    assert "Attempts, 24h: 3 delivered, 0 failed" in page(staff(other.organization, name="gina"), "/admin/")


def test_a_webhooks_page_has_its_chart_its_numbers_and_its_last_failure(
    forge: Forge, admin_client: Client, sender: Sender, hour: datetime
) -> None:
    webhook = forge.webhook(now=hour)
    forge.receiver.answers["/"] = [Answer(200), Answer(404)]
    deliver(forge, 1, at=hour, sender=sender)
    deliver(forge, 1, at=hour + timedelta(minutes=1), sender=sender)
    HourlyCounting().tick(now=timezone.now())

    shown = page(admin_client, page_of(webhook))

    assert "Attempts, 24h: 1 delivered, 1 failed" in shown
    assert "1 delivered, 1 failed (1 4xx)</title>" in shown
    assert "<td>1 4xx</td>" in shown
    assert "Last failure: The receiver knows nothing at this address (404)." in shown
    assert "Attempts, 30d: 1 delivered, 1 failed" in page(admin_client, f"{page_of(webhook)}?period=30d")
    assert "Attempts, 24h" in page(admin_client, f"{page_of(webhook)}?period=<script>")


def test_before_anything_is_counted_the_page_says_so(forge: Forge, admin_client: Client, hour: datetime) -> None:
    shown = page(admin_client, page_of(forge.webhook(now=hour)))

    assert "No attempts in this time." in shown
    assert "Last failure" not in shown


def test_a_month_is_shown_by_day(forge: Forge, admin_client: Client, sender: Sender, hour: datetime) -> None:
    webhook = forge.webhook(now=hour)
    for days in range(30):
        forge_at = hour - timedelta(days=days)
        HourlyStats.objects.bulk_create(
            HourlyStats(
                organization_id=owner, webhook_id=hook, hour=forge_at, delivered=1, redirects=0, client_errors=0,
                server_errors=0, timeouts=0, unreachable=0, tls_errors=0, blocked=0, other=0, latencies=[1] + [0] * 61,
            )
            for owner, hook in ((0, 0), (forge.organization.pk, 0), (forge.organization.pk, webhook.pk))
        )  # fmt: skip

    assert "Attempts, 30d: 30 delivered, 0 failed" in page(admin_client, f"{page_of(webhook)}?period=30d")
    assert "Attempts, 30d: 30 delivered, 0 failed" in page(admin_client, "/admin/?period=30d")
    assert not Attempt.objects.exists()
