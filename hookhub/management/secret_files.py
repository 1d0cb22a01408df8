"""Reads secrets from a file or standard input, because arguments are visible in the process list."""

import sys
from pathlib import Path

from django.core.management.base import CommandError


def read(name: str, *, option: str) -> str:
    """Return the stripped content of a file, or of standard input for ``-``; raise CommandError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except OSError as error:
        # Omit the name, and the original error, which contains it: it may be the secret itself, passed instead of a
        # file.
        raise CommandError(f"Cannot read the file given with {option}: {error.strerror}.") from None
    except ValueError:
        raise CommandError(f"Cannot read the file given with {option}: it is not valid UTF-8.") from None
    if not text.strip():
        raise CommandError(f"{option}: {'standard input' if name == '-' else 'the file'} is empty.")
    return text.strip()
