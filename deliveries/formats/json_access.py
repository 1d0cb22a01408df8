"""Reads texts from JSON of any shape: a value that is missing or of another type yields an empty text."""

from typing import Any

from deliveries.formats.base import Message
from deliveries.formats.text import clean, link_of


def at(value: Any, *path: str) -> Any:
    """Return the value at a path of keys, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *path: str) -> str:
    """Return the text at a path of keys, or ""."""
    return text_of(at(value, *path))


def text_of(value: Any) -> str:
    """Return a string or an integer as clean text, and "" for anything else."""
    if isinstance(value, str):
        return clean(value)
    # Python refuses to convert integers of thousands of digits to text, and no real number is that long.
    return str(value) if type(value) is int and abs(value) < 10**18 else ""


def listed(value: Any) -> list[Any]:
    """Return ``value`` if it is a list, else []."""
    return value if isinstance(value, list) else []


def first(*texts: str) -> str:
    """Return the first text that is not empty, or ""."""
    return next(filter(None, texts), "")


def joined(between: str, *texts: str) -> str:
    """Return the non-empty texts joined by ``between``."""
    return between.join(filter(None, texts))


def login_of(person: Any) -> str:
    """Return a person's name: ``username`` in Sigmagit, ``login`` in GitHub, ``name`` in git."""
    return first(*(text_at(person, key) for key in ("username", "login", "name")))


def page_of(thing: Any) -> str:
    """Return the URL of a thing's web page, or "". ``html_url`` comes first: GitHub's ``url`` is for its API."""
    return first(link_of(at(thing, "html_url")), link_of(at(thing, "url")))


def source_of(data: Any, message: Message) -> tuple[str, str]:
    """Return the full name of the event's repository, or else its organization, and the repository's URL."""
    repository = at(data, "repository")
    owner = first(text_at(repository, "owner"), login_of(at(repository, "owner")))
    name = text_at(repository, "name") and joined("/", owner, text_at(repository, "name"))
    ours = joined("/", message.organization, message.repository or "")
    return first(text_at(repository, "full_name"), name, ours), page_of(repository)
