"""Text for logs, headers, e-mails, pages and terminals: names on one line, and untrusted bytes made printable."""

import json
import unicodedata

from django.core.exceptions import ValidationError

from deliveries import secret_text

RULE = "must be a single line without control or bidirectional formatting characters"
# The same rule as a regular expression, for the OpenAPI document.
PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*$"
# Control characters, line and paragraph separators, unpaired surrogates; below, bidirectional formatting characters.
_REFUSED_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs"})
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_one_line(text: str) -> bool:
    """Return whether a text has no line breaks, no control characters and no bidirectional formatting characters."""
    return not any(_is_refused(letter) for letter in text)


def error_in(text: str) -> str | None:
    """Return what is wrong with a name or a description, or None. API keys and secrets are errors: many can read it."""
    if not is_one_line(text):
        return RULE
    return secret_text.RULE if secret_text.holds_secret(text) else None


def validate(text: str) -> None:
    """Raise Django's ValidationError if a text is invalid as a name or a description."""
    if not is_one_line(text):
        raise ValidationError(f"This {RULE}.", code="control_characters")
    if error := error_in(text):
        raise ValidationError(f"This {error}.", code="holds_secret")


def on_one_line(text: str) -> str:
    """Return a text on one line, for texts stored before they were validated; refused characters become spaces."""
    return " ".join("".join(" " if _is_refused(letter) else letter for letter in text).split())


def printable(raw: bytes | str) -> str:
    r"""Return untrusted bytes as text with nothing hidden in it.

    Invalid UTF-8, control characters and characters that reorder a line become escapes such as ``\x00``; line breaks
    and tabs stay.
    """
    text = raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw
    return "".join(
        mark if mark.isprintable() or mark in "\n\t" else mark.encode("unicode_escape").decode()
        for mark in text.replace("\r\n", "\n")
    )


def printable_json(value: object) -> str:
    r"""Return a value as indented JSON with nothing hidden in it: what ``printable`` escapes is escaped as JSON does.

    So it can be sent back as it is shown: a page cannot hold an unpaired surrogate, and JSON has no ``\x85``.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(mark if mark.isprintable() or mark == "\n" else json.dumps(mark)[1:-1] for mark in text)


def _is_refused(letter: str) -> bool:
    return unicodedata.category(letter) in _REFUSED_CATEGORIES or letter in _BIDIRECTIONAL
