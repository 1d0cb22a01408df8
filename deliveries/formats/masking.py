"""Masking of what is secret in a URL."""

from urllib.parse import urlsplit

# Shown in place of a secret.
MASK = "********"
# The length of the columns that masked URLs are stored in. A mask may be longer than what it stands for.
MAX_LENGTH = 2048


def mask_path(url: str) -> str:
    """Return a URL with everything after the host masked; "" for the missing one of a polling webhook."""
    if not url:
        return ""
    scheme, host, *_ = urlsplit(url)
    return f"{scheme}://{host}/{MASK}"


def mask_query(url: str) -> str:
    """Return a URL with each value in its query masked, because it may be a token; the names stay if they fit."""
    before, mark, query = url.partition("?")
    parts = [f"{part.partition('=')[0]}={MASK}" if "=" in part else part and MASK for part in query.split("&")]
    with_names = before + mark + "&".join(parts)
    if len(with_names) <= MAX_LENGTH:
        return with_names
    without_names = f"{before}?{MASK}"
    return without_names if len(without_names) <= MAX_LENGTH else mask_path(url)
