"""Secrets that commands read from a file or standard input, because arguments are seen in the list of processes."""

import sys
from pathlib import Path

from django.core.management.base import CommandError


def read(name: str, *, option: str) -> str:
    """Return what a file, or standard input for ``-``, holds, without space around it; raises CommandError."""
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise CommandError(f"{option} cannot be read: {error}") from error
    if not text.strip():
        raise CommandError(f"{option}: there is nothing in {'standard input' if name == '-' else name}.")
    return text.strip()
