"""``manage.py changepassword``: Django's command, with an entry in the audit log."""

import getpass
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from deliveries import audit, timezone
from hookhub.audited import audited

MAX_TRIES = 3


class Command(changepassword.Command):
    help = "Change a user's password."

    @audit.by_command("changepassword")
    def handle(self, *_: Any, **options: Any) -> None:
        """Prompt for a new password, and store it with its audit entry in one transaction."""
        username = options["username"] or getpass.getuser()
        user = User.objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"user {username!r} does not exist")
        self.stdout.write(f"Changing password for user {username!r}")
        # Prompt before the transaction, which must not stay open while a person types.
        password = self._ask(user)
        with transaction.atomic():
            user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
            target, before = audited(user)
            user.set_password(password)
            user.save(update_fields=["password"])
            action, after = "user.password_changed", audited(user)[1]
            audit.record_update(action, target=target, before=before, after=after, now=timezone.now())
        self.stdout.write(f"Password changed successfully for user {username!r}")

    def _ask(self, user: User) -> str:
        for _ in range(MAX_TRIES):
            password = getpass.getpass()
            if not password:
                raise CommandError("aborted")
            if password != getpass.getpass("Password (again): "):
                self.stdout.write("Passwords do not match. Please try again.")
                continue
            try:
                validate_password(password, user)
            except ValidationError as error:
                self.stderr.write("\n".join(error.messages))
                continue
            return password
        raise CommandError(f"Aborting password change for user {user.get_username()!r} after {MAX_TRIES} attempts.")
