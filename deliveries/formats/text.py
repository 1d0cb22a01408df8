"""Sanitizing of untrusted text: cleaning, and truncation to the length limits of chat systems."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

# Unpaired surrogates cannot be encoded, and control characters other than a line feed are invisible or harmful.
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_IN_URLS = re.compile(r"[\s\0-\x20\x7f-\x9f<>|\"`\\()\ud800-\udfff]")
_MAX_URL = 2000
# More than any chat system shows of one text.
_MAX_TEXT = 6000
ELLIPSIS = "…"

Escape = Callable[[str], str]


def clean(text: str) -> str:
    """Return the beginning of the text, without characters that chat systems cannot show."""
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub(" ", text[:_MAX_TEXT].replace("\r\n", "\n"))).strip()


def units(text: str) -> int:
    """Return the length in UTF-16 code units, as chat systems count: most emoji are two."""
    return len(text) + sum(character > "\uffff" for character in text)


def fit(text: str, most: int, *, escape: Escape) -> str:
    """Return the escaped text, truncated with an ellipsis to at most ``most`` UTF-16 units.

    The text is cut between characters and before it is escaped, so that no character or escape sequence is broken.
    """
    # Every character escapes to at least one unit, so the rest cannot fit.
    head = text[: most + 1]
    if len(head) == len(text) and units(whole := escape(text)) <= most:
        return whole
    low, high = 0, len(head)
    # Binary search for the longest prefix that fits. Escaping may depend on neighboring characters, but a longer prefix
    # never escapes to a shorter text.
    while low < high:
        middle = (low + high + 1) // 2
        if units(escape(head[:middle])) <= most - 1:
            low = middle
        else:
            high = middle - 1
    return escape(head[:low].rstrip()) + ELLIPSIS if low else ""


def link_of(value: object) -> str:
    """Return the URL if it is http(s) and safe inside markup without escaping, else ""."""
    if not isinstance(value, str) or len(value) > _MAX_URL or _NOT_IN_URLS.search(value):
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return value if parts.scheme in {"http", "https"} and parts.netloc else ""
