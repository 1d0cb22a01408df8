"""Refuses settings of a project that are of another type than their defaults: a number of seconds is no timedelta."""

import os
from collections.abc import Collection
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network

from django.core.exceptions import ImproperlyConfigured

# As far as PostgreSQL's integers go.
MAX_NUMBER = 2**31 - 1
AT_LEAST_ONE = frozenset(
    {
        "HOOKHUB_BODY_MIN_RATE",
        "HOOKHUB_MAX_IN_FLIGHT",
        "HOOKHUB_PAYLOAD_LIMIT",
        "HOOKHUB_REQUEST_LIMIT",
        "HOOKHUB_SLOTS",
        "HOOKHUB_WEB_QUEUE",
        "HOOKHUB_WORKER_PROCESSES",
    }
)
NETWORKS = frozenset({"HOOKHUB_ALLOWED_NETWORKS", "HOOKHUB_TRUSTED_PROXIES"})
SPANS = frozenset({"HOOKHUB_RETRY_SCHEDULE"})


def check(name: str, value: object, *, default: object) -> None:
    """Raise ImproperlyConfigured, which names what is expected, if a setting cannot have a value."""
    expected = _unmet(name, value, default)
    if expected:
        # Not the value itself, unless it is a number: it may be secret.
        found = repr(value) if isinstance(value, int | float | timedelta) else f"of the type {type(value).__name__}"
        raise ImproperlyConfigured(f"{name} must be {expected}, but it is {found}.")


def _unmet(name: str, value: object, default: object) -> str:
    """Return what a value should be, and "" if it is that."""
    match default:
        case bool():
            return "" if isinstance(value, bool) else "True or False"
        case int():
            least = int(name in AT_LEAST_ONE)
            is_met = isinstance(value, int) and not isinstance(value, bool) and least <= value <= MAX_NUMBER
            return "" if is_met else f"a whole number from {least} to {MAX_NUMBER}"
        case timedelta():
            return "" if isinstance(value, timedelta) and value > timedelta(0) else "a timedelta above 0"
        case str():
            return "" if isinstance(value, str | os.PathLike) else "a string"
        case _:
            return _unmet_by_items(name, value)


def _unmet_by_items(name: str, value: object) -> str:
    kinds: tuple[type, ...] = (str,)
    expected = "a list of strings"
    if name in NETWORKS:
        kinds, expected = (IPv4Network, IPv6Network), 'a list of networks: ipaddress.ip_network("10.1.0.0/16")'
    elif name in SPANS:
        kinds, expected = (timedelta,), "a list of timedeltas, none below 0"
    if isinstance(value, str | bytes) or not isinstance(value, Collection):
        return expected
    is_met = all(
        isinstance(item, kinds) and not (isinstance(item, timedelta) and item < timedelta(0)) for item in value
    )
    return "" if is_met else expected
