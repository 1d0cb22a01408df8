"""Secrets that commands read from a file or standard input, because arguments are seen in the list of processes."""

import sys
from pathlib import Path

from django.core.management.base import CommandError


def read(name: str, *, option: str) -> str:
    """Return what a file, or standard input for ``-``, holds, without space around it; raises CommandError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except OSError as error:
        # Without the name, and without the error that has it: some give the secret itself where its file is asked for.
        raise CommandError(f"The file of {option} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise CommandError(f"The file of {option} cannot be read: it is not text in UTF-8.") from None
    if not text.strip():
        raise CommandError(f"{option}: there is nothing in {'standard input' if name == '-' else 'the file'}.")
    return text.strip()
