"""The shop's own tests: HookHub's tables are emptied after each, as all others are."""

from django.db import transaction
from django.test import TestCase, TransactionTestCase

from deliveries.models import AuditEntry, Event, Organization
from hookhub import publish


class OfTransactions(TransactionTestCase):
    def test_an_event_of_a_transaction(self):
        self.publish()

    def test_another(self):
        self.publish()

    def publish(self):
        assert not AuditEntry.objects.exists()
        Organization.objects.create(slug="acme")
        AuditEntry.objects.create(recorded_at="2026-03-04T12:00:00Z", action="test", actor_kind="command")
        with transaction.atomic():
            publish("order.paid", {}, organization="acme")
        assert Event.objects.count() == 1


class InATransaction(TestCase):
    def test_an_event(self):
        Organization.objects.create(slug="acme")
        with self.captureOnCommitCallbacks(execute=True):
            publish("order.paid", {}, organization="acme")
        assert Event.objects.count() == 1
