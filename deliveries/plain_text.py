"""Names and descriptions on one line: what reaches e-mail subjects, log lines, headers and terminals."""

import unicodedata

from django.core.exceptions import ValidationError

RULE = "must be one line without control characters"
# Control characters, line and paragraph separators, half a surrogate pair, and format characters that turn text round.
_REFUSED_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs"})
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_one_line(text: str) -> bool:
    """Return whether a text has neither line breaks nor control characters, nor what makes it read otherwise."""
    return not any(_is_refused(letter) for letter in text)


def validate(text: str) -> None:
    """Raise Django's ValidationError for a text that is not one line."""
    if not is_one_line(text):
        raise ValidationError(f"This {RULE}.", code="control_characters")


def on_one_line(text: str) -> str:
    """Return a text that may have been stored before as one line: each character that is refused is a space."""
    return " ".join("".join(" " if _is_refused(letter) else letter for letter in text).split())


def _is_refused(letter: str) -> bool:
    return unicodedata.category(letter) in _REFUSED_CATEGORIES or letter in _BIDIRECTIONAL
