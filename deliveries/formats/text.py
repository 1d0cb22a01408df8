"""Text that strangers wrote, made fit for somebody else's markup and limits."""

import re
from collections.abc import Callable
from urllib.parse import urlsplit

# Half a surrogate pair cannot be encoded, and control characters other than a line's end show nothing or do harm.
_HALVES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\0-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_NOT_IN_URLS = re.compile(r"[\s\0-\x20\x7f-\x9f<>|\"`\\()\ud800-\udfff]")
_URL_LONGEST = 2000
# More than any chat shows of one text.
_TEXT_LONGEST = 6000
ELLIPSIS = "…"

Escape = Callable[[str], str]


def clean(text: str) -> str:
    """Give the beginning of the text, without what no chat can show."""
    return _HALVES.sub("\ufffd", _CONTROLS.sub(" ", text[:_TEXT_LONGEST].replace("\r\n", "\n"))).strip()


def units(text: str) -> int:
    """Count as chat systems do, in UTF-16: most emoji are two."""
    return len(text) + sum(character > "\uffff" for character in text)


def fit(text: str, most: int, *, escape: Escape) -> str:
    """Escape as much of the text as fits into ``most`` units, with an ellipsis where it was cut.

    It is cut between characters and before it is escaped, so that neither a character nor an escape is broken.
    """
    # Every character escapes to at least one unit, so what lies beyond cannot fit.
    head = text[: most + 1]
    if len(head) == len(text) and units(whole := escape(text)) <= most:
        return whole
    low, high = 0, len(head)
    # The longest beginning that fits, found by halving: an escape may look at a character's neighbours, but more text
    # never escapes to less.
    while low < high:
        middle = (low + high + 1) // 2
        if units(escape(head[:middle])) <= most - 1:
            low = middle
        else:
            high = middle - 1
    return escape(head[:low].rstrip()) + ELLIPSIS if low else ""


def link_of(value: object) -> str:
    """Give a URL that markup can hold as it is, or nothing: one that is no http(s) URL is not worth the risk."""
    if not isinstance(value, str) or len(value) > _URL_LONGEST or _NOT_IN_URLS.search(value):
        return ""
    try:
        parts = urlsplit(value)
    except ValueError:
        return ""
    return value if parts.scheme in {"http", "https"} and parts.netloc else ""
