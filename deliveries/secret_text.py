"""API keys and signing secrets, recognised by how HookHub writes them: names and log lines must not hold any."""

import re

RULE = "must not be, or hold, an API key or a secret"
_SECRET = re.compile(r"(hh_[0-9a-f]{12}_|whsec_)[A-Za-z0-9+/=_-]{20,}")


def holds_secret(text: str) -> bool:
    """Return whether a text holds what looks like an API key or a signing secret."""
    return _SECRET.search(text) is not None


def masked(text: str) -> str:
    """Return a text with every API key and signing secret in it cut down to what tells which one it is."""
    return _SECRET.sub(r"\1***", text)
