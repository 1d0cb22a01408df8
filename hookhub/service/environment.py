"""Reads the settings from environment variables, and the generated secrets from files."""

import os
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from cryptography.fernet import Fernet, MultiFernet
from django.core.exceptions import ImproperlyConfigured

from deliveries import defaults
from deliveries.sending.url import normalise_host

Value = TypeVar("Value")
Default = TypeVar("Default")
# Longer than any is meant to be, and short enough to be added to a date and subtracted from it.
MAX_DAYS = 36_500
# The largest that PostgreSQL, Redis and the system's calls take.
MAX_WHOLE = 2**31 - 1
MAX_PORT = 65_535
HOST_NAMES = "a comma-separated list of host names"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
MAKE_KEY = 'python -c "import secrets; print(secrets.token_urlsafe(50))"'
MAKE_ENCRYPTION_KEY = 'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'


# The names of all settings that have been read.
NAMES: set[str] = set()


def read(name: str, parse: Callable[[str], Value], default: Default, *, expects: str) -> Value | Default:
    """Return the environment variable ``name`` parsed, or ``default`` if it is unset or empty.

    Raises ImproperlyConfigured, which names what the variable ``expects``, if ``parse`` raises ValueError or
    OverflowError.
    """
    NAMES.add(name)
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        return parse(text)
    except (ValueError, OverflowError) as error:
        raise ImproperlyConfigured(f"{name}={text!r} is invalid: expected {expects} ({error})") from error


def text(name: str, default: str = "") -> str:
    return read(name, str, default, expects="a string")


def usual(name: str) -> Any:
    """Return HookHub's own default of a setting."""
    return getattr(defaults, name)


def flag(name: str, *, default: bool | None = None) -> bool:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}

    def parse(value: str) -> bool:
        if value.lower() not in words:
            raise ValueError("use 1 or 0")
        return words[value.lower()]

    return read(name, parse, usual(name) if default is None else default, expects="a boolean")


def whole(name: str, default: int | None = None, *, least: int = 0, most: int = MAX_WHOLE) -> int:
    def parse(value: str) -> int:
        number = int(value)
        if number < least:
            raise ValueError(f"must be at least {least}")
        if number > most:
            raise ValueError(f"must be at most {most}")
        return number

    return read(name, parse, usual(name) if default is None else default, expects="an integer")


def days(name: str, default: timedelta) -> timedelta:
    def parse(value: str) -> timedelta:
        number = int(value)
        if not 1 <= number <= MAX_DAYS:
            raise ValueError(f"must be from 1 to {MAX_DAYS}")
        return timedelta(days=number)

    return read(name, parse, default, expects="a number of days")


def seconds(name: str, default: timedelta | None = None) -> timedelta:
    def parse(value: str) -> timedelta:
        span = timedelta(seconds=float(value))
        if not timedelta(0) < span <= timedelta(days=MAX_DAYS):
            raise ValueError(f"must be greater than 0, and at most {MAX_DAYS} days")
        return span

    return read(name, parse, usual(name) if default is None else default, expects="a number of seconds")


def waits(value: str) -> tuple[timedelta, ...]:
    """Parse seconds separated by commas, 0 or more of each; raises ValueError."""
    found = tuple(timedelta(seconds=float(part)) for part in value.split(","))
    if not all(timedelta(0) <= wait <= timedelta(days=MAX_DAYS) for wait in found):
        raise ValueError(f"each must be at least 0, and at most {MAX_DAYS} days")
    return found


def words(name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
    return read(name, lambda value: tuple(part.strip() for part in value.split(",") if part.strip()), default,
                expects="a comma-separated list")  # fmt: skip


def one_of(choices: tuple[str, ...], value: str) -> str:
    """Parse one of several words; raises ValueError."""
    if value not in choices:
        raise ValueError(f"use {' or '.join(choices)}")
    return value


def level(value: str) -> str:
    """Parse a level of logging; raises ValueError."""
    return one_of(LEVELS, value.upper())


def readable(value: str) -> str:
    """Parse the path of a file that this process can read; raises ValueError."""
    try:
        Path(value).open("rb").close()
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    return value


def url(value: str) -> str:
    """Parse a URL without query and fragment; raises ValueError."""
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("it needs http:// or https:// and a host, and ends with the path, if any")
    # Of an invalid port only its use is an error.
    _ = parts.port
    return value


def public_url(value: str) -> str:
    """Parse the URL of a deployment; return it without a slash at its end. Raises ValueError."""
    return url(value).rstrip("/")


def sentry_dsn(value: str) -> str:
    """Parse where errors are reported, "" for nowhere; raises ImproperlyConfigured, without the key that is in it."""
    parts = urlsplit(value)
    if value and not (
        parts.scheme in {"http", "https"} and parts.username and parts.hostname and parts.path.strip("/")
    ):
        raise ImproperlyConfigured("SENTRY_DSN is not a DSN of Sentry: https://key@sentry.example.org/1")
    return value


def origins(value: str) -> tuple[str, ...]:
    """Parse origins; return them as browsers write them, without a slash at the end. Raises ValueError."""
    found = tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
    for part in found:
        if not part.startswith(("http://", "https://")) or not urlsplit(part).netloc or urlsplit(part).path:
            raise ValueError(f"{part!r} needs http:// or https:// and a host, without a path")
    return found


def served_hosts(value: str) -> tuple[str, ...]:
    """Parse the names of hosts as requests have them, without the port; raises ValueError."""
    found = tuple(part.strip() for part in value.split(",") if part.strip())
    for part in found:
        is_address = part.startswith("[") and part.endswith("]")
        if "/" in part or (":" in part and not is_address) or len(part.split()) > 1:
            raise ValueError(f"{part!r} must be a name alone, without scheme, port and path; IPv6 is in brackets")
    return found


def host_names(value: str) -> tuple[str, ...]:
    """Parse names of other hosts, and return them as the guard compares them; raises ValueError."""
    return tuple(normalise_host(part.strip()) for part in value.split(",") if part.strip())


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


def secret(name: str, make: Callable[[], str], hint: str, *, home: Path | None) -> str:
    """Return a secret from the environment, or generate one and store it in ``home``.

    Raises ImproperlyConfigured, with the command that makes one, if it is not set and there is no home.
    """
    if value := text(name):
        return value
    if home is None:
        raise ImproperlyConfigured(f"{name} is not set. Generate one with `{hint}` and set it on every host.")
    return generated(home / name.removeprefix("HOOKHUB_").lower(), make)


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


def make_encryption_key() -> str:
    """Return a new random key."""
    return Fernet.generate_key().decode()


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
