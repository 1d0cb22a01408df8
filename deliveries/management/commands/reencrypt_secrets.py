"""``manage.py reencrypt_secrets``: re-encrypt all secrets with the first encryption key, after a key rotation."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.db.models import Prefetch
from django.template.defaultfilters import pluralize
from django.utils.module_loading import import_string

from deliveries import audit, timezone, vault
from deliveries.audit import Target
from deliveries.models import Verification, Webhook
from deliveries.webhooks import denials, pending_changes, secrets

# The number of unreadable webhooks that the error message lists.
MAX_SHOWN = 10
REPORT_EVERY = 1000
# Webhooks that are read at a time.
CHUNK = 1000
SET_AGAIN = "set the URL, the secret and the headers of each webhook again, or delete it"


class Command(BaseCommand):
    """Re-encrypt all secrets. If any cannot be decrypted, fail before anything is changed."""

    help = (
        "Re-encrypt the secrets, headers and URLs of all webhooks, and those of alert channels and second factors, "
        "with the first key of HOOKHUB_ENCRYPTION_KEYS. "
        "Run it after prepending a new key and restarting all processes; then the old key can be removed."
    )
    requires_system_checks = ()

    @audit.by_command("reencrypt_secrets")
    def handle(self, *_: Any, **options: Any) -> None:
        """Check that all secrets can be decrypted, and re-encrypt them."""
        total = Webhook.objects.kept().count()
        self._print(f"Checking that the secrets of {total:,} webhook{pluralize(total)} can be decrypted.")
        try:
            if problems := find_unreadable(total):
                raise CommandError(f"Nothing was changed: {' '.join(problems)}")
            self._print("All can be decrypted. Re-encrypting them with the first key.")
            with transaction.atomic():
                target = Target("secrets", "", "secrets of webhooks", None)
                audit.record("secrets.reencrypted", target=target, after={"webhooks": total}, now=timezone.now())
            done = self._reencrypt(total)
            denials.reencrypt_all()
        except vault.Unreadable as error:
            raise CommandError(
                f"A webhook's secrets changed during the run: {error}. Run this command again."
            ) from error
        except ValueError as error:
            raise CommandError(f"HOOKHUB_ENCRYPTION_KEYS contains an invalid key: {error}") from error
        try:
            for path in settings.HOOKHUB_SEALED:
                import_string(path)()
        except vault.Unreadable as error:
            raise CommandError(f"Not everything was re-encrypted: {error}. Or delete it.") from error
        count = f"{done:,} webhook{pluralize(done)}"
        self._print(self.style.SUCCESS(f"Re-encrypted the secrets of {count}. Only the first key is needed now."))

    def _reencrypt(self, total: int) -> int:
        """Re-encrypt all webhooks, reporting progress; return how many were not in the current form yet."""
        done = 0
        for examined, was_stale in enumerate(secrets.reencrypt_all(), start=1):
            done += was_stale
            if examined % REPORT_EVERY == 0:
                self._print(f"{examined:,} of {total:,} examined, {done:,} re-encrypted")
        return done

    def _print(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def find_unreadable(total: int) -> list[str]:
    """Return a message for the webhooks whose key is missing, and one for those whose values no key opens."""
    without_key: list[str] = []
    altered: list[str] = []
    sealed = Webhook.objects.kept().only("uid", "stored_url", "sealed_url", "sealed_secrets", "sealed_headers")
    changes = Verification.objects.open().filter(sealed_change__isnull=False)
    for webhook in sealed.order_by("pk").prefetch_related(Prefetch("verifications", changes)).iterator(CHUNK):
        try:
            vault.secrets_of(webhook)
            vault.headers_of(webhook)
            _ = webhook.url
            for waiting in webhook.verifications.all():
                pending_changes.unseal(waiting.sealed_change, of=waiting.id)
        except vault.Tampered:
            altered.append(str(webhook.uid))
        except vault.Unreadable:
            without_key.append(str(webhook.uid))
    problems = []
    if without_key:
        problems.append(
            f"{len(without_key):,} of {total:,} webhooks cannot be decrypted with the keys in "
            "HOOKHUB_ENCRYPTION_KEYS. Append the old key to that setting and run this command again. "
            f"If the key is lost, {SET_AGAIN}. Webhooks: {shown(without_key)}"
        )
    if altered:
        problems.append(
            f"{len(altered):,} of {total:,} webhooks have values that were altered, or copied from another webhook, so "
            f"that no key opens them. To continue, {SET_AGAIN}. Webhooks: {shown(altered)}"
        )
    return problems


def shown(ids: list[str]) -> str:
    """Return the first MAX_SHOWN ids as text."""
    return ", ".join(ids[:MAX_SHOWN]) + (", …" if len(ids) > MAX_SHOWN else "")
