"""Names and descriptions on one line: what reaches e-mail subjects, log lines, headers and terminals."""

import unicodedata

from django.core.exceptions import ValidationError

from deliveries import secret_text

RULE = "must be one line without control characters"
# The same for those who cannot run this code, as the OpenAPI document writes regular expressions.
PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$"
# Control characters, line and paragraph separators, half a surrogate pair, and format characters that turn text round.
_REFUSED_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs"})
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_one_line(text: str) -> bool:
    """Return whether a text has neither line breaks nor control characters, nor what makes it read otherwise."""
    return not any(_is_refused(letter) for letter in text)


def error_in(text: str) -> str | None:
    """Return what is wrong with a name or a description, or None; many may read it, so it holds no key."""
    if not is_one_line(text):
        return RULE
    return secret_text.RULE if secret_text.holds_secret(text) else None


def validate(text: str) -> None:
    """Raise Django's ValidationError for a text that cannot be a name or a description."""
    if not is_one_line(text):
        raise ValidationError(f"This {RULE}.", code="control_characters")
    if error := error_in(text):
        raise ValidationError(f"This {error}.", code="holds_secret")


def on_one_line(text: str) -> str:
    """Return a text that may have been stored before as one line: each character that is refused is a space."""
    return " ".join("".join(" " if _is_refused(letter) else letter for letter in text).split())


def _is_refused(letter: str) -> bool:
    return unicodedata.category(letter) in _REFUSED_CATEGORIES or letter in _BIDIRECTIONAL
