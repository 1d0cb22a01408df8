"""``manage.py reencrypt_secrets``: re-encrypt all secrets with the first encryption key, after a key rotation."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

from deliveries import audit, vault
from deliveries.audit import Target
from deliveries.models import Webhook
from deliveries.webhooks import secrets

# The number of unreadable webhooks that the error message lists.
MAX_SHOWN = 10
TOLD_EVERY = 1000


class Command(BaseCommand):
    """Re-encrypt all secrets. If any cannot be decrypted, fail before anything is changed."""

    help = (
        "Re-encrypt the secrets, headers and URLs of all webhooks with the first key of HOOKHUB_ENCRYPTION_KEYS. "
        "Run it after prepending a new key and restarting all processes; then the old key can be removed."
    )

    @audit.by_command("reencrypt_secrets")
    def handle(self, *_: Any, **options: Any) -> None:
        """Check that all secrets can be decrypted, and re-encrypt them."""
        total = Webhook.objects.kept().count()
        self.stdout.write(f"Checking that the secrets of {total:,} webhooks can be decrypted.")
        self.stdout.flush()
        try:
            locked, count = find_unreadable()
            if not count:
                self.stdout.write("All can be decrypted. Re-encrypting them with the first key.")
                self.stdout.flush()
                with transaction.atomic():
                    target = Target("secrets", "", "secrets of webhooks", None)
                    audit.record("secrets.reencrypted", target=target, after={"webhooks": total}, now=timezone.now())
                done = self._reseal(total)
                secrets.wipe_deleted()
        except vault.Unreadable as error:
            raise CommandError(
                f"A webhook's secrets changed during the run: {error}. Run this command again."
            ) from error
        except ValueError as error:
            raise CommandError(f"HOOKHUB_ENCRYPTION_KEYS contains an invalid key: {error}") from error
        if count:
            shown = ", ".join(locked) + (", …" if count > len(locked) else "")
            raise CommandError(
                f"Nothing was changed: {count:,} of {total:,} webhooks cannot be decrypted with the keys in "
                f"HOOKHUB_ENCRYPTION_KEYS. Append the old key to that setting and run this command again. "
                f"Webhooks: {shown}"
            )
        self.stdout.write(
            self.style.SUCCESS(f"Re-encrypted the secrets of {done:,} webhooks. Only the first key is needed now.")
        )

    def _reseal(self, total: int) -> int:
        """Re-encrypt all webhooks, reporting progress; return how many were not in the current form yet."""
        done = 0
        for looked_at, was_stale in enumerate(secrets.reencrypt_all(), start=1):
            done += was_stale
            if looked_at % TOLD_EVERY == 0:
                self.stdout.write(f"{looked_at:,} of {total:,} examined, {done:,} re-encrypted")
                self.stdout.flush()
        return done


def find_unreadable() -> tuple[list[str], int]:
    """Return the ids of the first MAX_SHOWN webhooks that cannot be decrypted, and the number of all of them."""
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
            first += [str(webhook.uid)] if count <= MAX_SHOWN else []
    return first, count
