"""Messages between two pages, kept sealed in the session: some of them show a new key or secret, this once."""

from collections.abc import Sequence
from typing import Any

from django.contrib.messages.storage.session import SessionStorage

from deliveries import vault


class SealedSessionStorage(SessionStorage):
    """Django's storage in the session, which never leaves the server, with its content sealed at rest."""

    def serialize_messages(self, messages: Sequence[Any]) -> str:
        """Return the messages as sealed text."""
        return vault.seal_text(super().serialize_messages(messages), column="session", of="messages")

    def deserialize_messages(self, data: Any) -> Any:
        """Return the messages that were sealed; none when the key that sealed them is gone."""
        if not data:
            return []
        try:
            return super().deserialize_messages(vault.open_text(data, column="session", of="messages"))
        except vault.Unreadable:
            return []
