"""Picks texts out of JSON that may be of any shape: what is not there, or is something else, is an empty text."""

from typing import Any

from deliveries.formats.base import Message
from deliveries.formats.text import clean, link_of


def at(value: Any, *path: str) -> Any:
    """Give what is found along a path of keys, or None."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_at(value: Any, *path: str) -> str:
    """Give the text found along a path of keys."""
    return text_of(at(value, *path))


def text_of(value: Any) -> str:
    """Give a text or a whole number as clean text."""
    if isinstance(value, str):
        return clean(value)
    # Python refuses to write out an integer of thousands of digits, and nobody numbers issues so.
    return str(value) if type(value) is int and abs(value) < 10**18 else ""


def listed(value: Any) -> list[Any]:
    """Give a list as it is."""
    return value if isinstance(value, list) else []


def first(*texts: str) -> str:
    """Give the first text that is not empty."""
    return next(filter(None, texts), "")


def joined(between: str, *texts: str) -> str:
    """Join the texts that are not empty."""
    return between.join(filter(None, texts))


def login_of(person: Any) -> str:
    """Give somebody's name: Sigmagit says username, GitHub login, and git only name."""
    return first(*(text_at(person, key) for key in ("username", "login", "name")))


def page_of(thing: Any) -> str:
    """Give where people read about a thing; GitHub has the API's address under ``url``."""
    return first(link_of(at(thing, "html_url")), link_of(at(thing, "url")))


def place_of(data: Any, message: Message) -> tuple[str, str]:
    """Name the repository, or else the organization, and say where it is."""
    repository = at(data, "repository")
    owner = first(text_at(repository, "owner"), login_of(at(repository, "owner")))
    name = text_at(repository, "name") and joined("/", owner, text_at(repository, "name"))
    ours = joined("/", message.organization, message.repository or "")
    return first(text_at(repository, "full_name"), name, ours), page_of(repository)
