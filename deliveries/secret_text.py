"""Detection of HookHub's API keys and signing secrets in text, so that names and log lines do not contain any."""

import re

RULE = "must not contain an API key or a secret"
_SECRET = re.compile(r"(hh_[0-9a-f]{12}_|whsec_)[A-Za-z0-9+/=_-]{20,}")


def holds_secret(text: str) -> bool:
    """Return whether a text contains something that looks like an API key or a signing secret."""
    return _SECRET.search(text) is not None


def masked(text: str) -> str:
    """Return a text with every API key (``hh_<id>_***``) and signing secret (``whsec_***``) cut to its prefix."""
    return _SECRET.sub(r"\1***", text)
