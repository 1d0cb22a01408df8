"""``manage.py reencrypt_secrets``: re-encrypt all secrets with the first encryption key, after a key rotation."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from deliveries import audit, vault, webhooks
from deliveries.audit import Target
from deliveries.models import Webhook

# The number of unreadable webhooks that the error message lists.
SHOWN_MOST = 10
TOLD_EVERY = 1000


class Command(BaseCommand):
    """Re-encrypt all secrets. If any cannot be decrypted, fail before anything is changed."""

    help = (
        "Seal the secrets and headers of all webhooks with the first of HOOKHUB_ENCRYPTION_KEYS, and in today's form. "
        "Run it after putting a new key in front and restarting everything; then the old key can go."
    )

    @audit.by_command("reencrypt_secrets")
    def handle(self, *_: Any, **options: Any) -> None:
        """Check that all secrets can be decrypted, and re-encrypt them."""
        del options
        total = Webhook.objects.kept().count()
        self.stdout.write(f"Opening the secrets of {total:,} webhooks.")
        self.stdout.flush()
        try:
            locked, count = find_unreadable()
            if not count:
                self.stdout.write("All can be opened. Sealing them with the first key.")
                self.stdout.flush()
                with transaction.atomic():
                    target = Target("secrets", "", "secrets of webhooks", None)
                    audit.record("secrets.reencrypted", target=target, after={"webhooks": total}, now=timezone.now())
                done = self._reseal(total)
                webhooks.wipe_deleted()
        except vault.Unreadable as error:
            raise CommandError(f"A webhook's secrets changed under our eyes: {error}. Then run this again.") from error
        except ValueError as error:
            raise CommandError(f"HOOKHUB_ENCRYPTION_KEYS holds something that is no key: {error}") from error
        if count:
            shown = ", ".join(locked) + (", …" if count > len(locked) else "")
            raise CommandError(
                f"Nothing was changed: {count:,} of {total:,} webhooks are {vault.Unreadable()} and run this again. "
                f"They are: {shown}"
            )
        self.stdout.write(
            self.style.SUCCESS(f"Sealed the secrets of {done:,} webhooks; only the first key is needed now.")
        )

    def _reseal(self, total: int) -> int:
        """Re-encrypt all webhooks, reporting progress; return how many were not in the current form yet."""
        done = 0
        for looked_at, was_stale in enumerate(webhooks.reseal_all(), start=1):
            done += was_stale
            if looked_at % TOLD_EVERY == 0:
                self.stdout.write(f"{looked_at:,} of {total:,} looked at, {done:,} sealed anew")
                self.stdout.flush()
        return done


def find_unreadable() -> tuple[list[str], int]:
    """Return the ids of the first SHOWN_MOST webhooks that cannot be decrypted, and the number of all of them."""
    first: list[str] = []
    count = 0
    for webhook in (
        Webhook.objects.kept()
        .only("uid", "stored_url", "sealed_url", "sealed_secrets", "sealed_headers")
        .order_by("pk")
        .iterator()
    ):
        try:
            vault.secrets_of(webhook)
            vault.headers_of(webhook)
            _ = webhook.url
        except vault.Unreadable:
            count += 1
            first += [str(webhook.uid)] if count <= SHOWN_MOST else []
    return first, count
