"""``manage.py createsuperuser``: Django's command, with an entry in the audit log."""

from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import User
from django.db import transaction

from deliveries import audit, timezone
from hookhub.audited import audited


class RecordingUsers:
    """A proxy for the user manager, as far as Django's command uses it, that writes an audit entry."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager

    def __getattr__(self, name: str) -> Any:
        return getattr(self._manager, name)

    def db_manager(self, using: str) -> "RecordingUsers":
        """Return the proxy for one database."""
        return RecordingUsers(self._manager.db_manager(using))

    def create_superuser(self, **fields: Any) -> User:
        """Create the superuser and its audit entry in one transaction."""
        # The transaction starts here, after the prompts: it must not stay open while a person types.
        with transaction.atomic():
            user: User = self._manager.create_superuser(**fields)
            target, state = audited(user)
            audit.record("user.created", target=target, after=state, now=timezone.now())
        return user


class RecordingUser:
    """A proxy for the user model with the recording manager."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._default_manager = RecordingUsers(model._default_manager)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, **fields: Any) -> User:
        """Return an unsaved user, against which Django's command validates the password."""
        user: User = self._model(**fields)
        return user


class Command(createsuperuser.Command):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.UserModel = RecordingUser(self.UserModel)  # type: ignore[assignment]  # it has the same attributes

    @audit.by_command("createsuperuser")
    def handle(self, *args: Any, **options: Any) -> None:
        """Create the superuser."""
        super().handle(*args, **options)
