"""Reads the settings from environment variables, and the generated secrets from files."""

import os
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar

from cryptography.fernet import Fernet, MultiFernet
from django.core.exceptions import ImproperlyConfigured

Value = TypeVar("Value")
Default = TypeVar("Default")
# Longer than any is meant to be, and short enough to be added to a date and subtracted from it.
MAX_DAYS = 36_500
MAKE_ENCRYPTION_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


def read(name: str, parse: Callable[[str], Value], default: Default, *, expects: str) -> Value | Default:
    """Return the environment variable ``name`` parsed, or ``default`` if it is unset or empty.

    Raises ImproperlyConfigured, which names what the variable ``expects``, if ``parse`` raises ValueError or
    OverflowError.
    """
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        return parse(text)
    except (ValueError, OverflowError) as error:
        raise ImproperlyConfigured(f"{name}={text!r} is invalid: expected {expects} ({error})") from error


def text(name: str, default: str = "") -> str:
    return read(name, str, default, expects="a string")


def flag(name: str, *, default: bool) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def parse(value: str) -> bool:
        if value.lower() not in words:
            raise ValueError("use 1 or 0")
        return words[value.lower()]

    return read(name, parse, default, expects="a boolean")


def whole(name: str, default: int, *, least: int = 0) -> int:
    def parse(value: str) -> int:
        number = int(value)
        if number < least:
            raise ValueError(f"must be at least {least}")
        return number

    return read(name, parse, default, expects="an integer")


def days(name: str, default: timedelta) -> timedelta:
    def parse(value: str) -> timedelta:
        number = int(value)
        if not 1 <= number <= MAX_DAYS:
            raise ValueError(f"must be from 1 to {MAX_DAYS}")
        return timedelta(days=number)

    return read(name, parse, default, expects="a number of days")


def seconds(name: str, default: timedelta) -> timedelta:
    def parse(value: str) -> timedelta:
        span = timedelta(seconds=float(value))
        if not timedelta(0) < span <= timedelta(days=MAX_DAYS):
            raise ValueError(f"must be greater than 0, and at most {MAX_DAYS} days")
        return span

    return read(name, parse, default, expects="a number of seconds")


def words(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    return read(name, lambda value: tuple(part.strip() for part in value.split(",") if part.strip()), default,
                expects="a comma-separated list")  # fmt: skip


def one_of(choices: tuple[str, ...], value: str) -> str:
    """Parse one of several words; raises ValueError."""
    if value not in choices:
        raise ValueError(f"use {' or '.join(choices)}")
    return value


def networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Parse networks; raises ValueError."""
    return tuple(ip_network(part.strip()) for part in value.split(",") if part.strip())


def addresses(value: str) -> tuple[str, ...]:
    """Parse addresses and networks and return them as written; raises ValueError.

    They are validated because receivers build their firewall rules from them.
    """
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in found:
        ip_network(part)
    return found


def contacts(value: str) -> tuple[str, ...]:
    """Parse the contacts to which vulnerabilities are reported; raises ValueError."""
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in found:
        if not part.startswith(("mailto:", "https://", "tel:")) or not part.isprintable() or " " in part:
            raise ValueError(
                f"{part!r} is not a URI such as mailto:security@example.org or https://example.org/security"
            )
    return found


def generated(path: Path, make: Callable[[], str]) -> str:
    """Return the secret in a file, which is created on first use with mode 0600."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_text(make())
        # link() fails if another process was first, so that two processes that start at once use the same secret.
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


def encryption_keys(value: str) -> tuple[str, ...]:
    """Parse Fernet keys separated by commas; raises ImproperlyConfigured."""
    keys = tuple(part.strip() for part in value.split(",") if part.strip())
    try:
        MultiFernet([Fernet(key) for key in keys])
    except ValueError as error:
        raise ImproperlyConfigured(
            f"HOOKHUB_ENCRYPTION_KEYS contains an invalid key; generate one with `{MAKE_ENCRYPTION_KEY}`"
        ) from error
    return keys
