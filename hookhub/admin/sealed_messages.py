"""Django's messages, encrypted in the session: some show a new key or secret, only once."""

from collections.abc import Sequence
from typing import Any

from django.contrib.messages.storage.session import SessionStorage

from deliveries import vault


class SealedSessionStorage(SessionStorage):
    """Django's message storage in the server-side session, with its content encrypted at rest."""

    def serialize_messages(self, messages: Sequence[Any]) -> str:
        """Return the messages as encrypted text."""
        return vault.seal_text(super().serialize_messages(messages), column="session", of="messages")

    def deserialize_messages(self, data: Any) -> Any:
        """Return the decrypted messages; none if the encryption key is gone."""
        if not data:
            return []
        try:
            return super().deserialize_messages(vault.open_text(data, column="session", of="messages"))
        except vault.Unreadable:
            return []
