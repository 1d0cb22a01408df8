"""``manage.py roll_api_key``: generates a new secret for an API key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from deliveries import audit, plain_text, timezone
from deliveries.webhooks.fields import InvalidFields
from hookhub import api_keys
from hookhub.management import key_arguments
from hookhub.models import ApiKey


class Command(BaseCommand):
    """Roll an API key and print it with its new secret; it cannot be shown again."""

    help = (
        "Generate a new secret for an API key and print only the key on standard output: "
        "KEY=$(manage.py roll_api_key ID). It cannot be shown again; the old secret is accepted until the overlap ends."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("id", help="the key's id: the 12 characters after hh_, which are not secret")
        parser.add_argument(
            "--overlap",
            type=int,
            metavar="SECONDS",
            help="how long the old secret is accepted; 0 revokes it at once [HOOKHUB_SECRET_OVERLAP]",
        )
        expires = parser.add_mutually_exclusive_group()
        expires.add_argument("--expires-in", type=int, metavar="DAYS", help="let the key expire after DAYS days")
        expires.add_argument(
            "--expires-at", metavar="TIME", help="let the key expire at TIME, for example 2027-01-31T12:00:00Z"
        )

    @audit.by_command("roll_api_key")
    def handle(self, *_: Any, **options: Any) -> None:
        """Roll the key and print it alone on standard output; messages go to standard error."""
        now = timezone.now()
        overlap = key_arguments.overlap(options["overlap"])
        expires_at = key_arguments.expiry(days=options["expires_in"], at=options["expires_at"], now=now)
        key_id = options["id"]
        if "_" in key_id:
            raise CommandError("Pass only the key's id, the 12 characters after hh_, without the secret.")
        key = ApiKey.objects.filter(key_id=key_id).first() if plain_text.is_one_line(key_id) else None
        if key is None:
            raise CommandError(f"API key {key_id[:100]!r} does not exist.")
        try:
            with transaction.atomic():
                rolled, text = api_keys.roll(key, overlap=overlap, expires_at=expires_at, now=now)
                # If it cannot be shown, the old secret stays.
                self.stdout.write(text)
                self.stdout.flush()
        except InvalidFields as error:
            raise CommandError(" ".join(f"{name} {message}." for name, message in error.errors.items())) from error
        until = rolled.previous_secret_expires_at
        old = f"accepted until {until:%Y-%m-%d %H:%M:%S} UTC" if until else "no longer accepted"
        self.stderr.write(
            f"Rolled key {key_id}; its old secret is {old}. The key cannot be shown again.", self.style.NOTICE
        )
