"""The command line of the program that forwards events."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Callable
from urllib.parse import urlsplit

import requests

from hookhub.forwarding.forwarder import Forwarder, Forwarding
from hookhub.forwarding.remote import Failed, Gone, Unavailable, clean_key, reason

if TYPE_CHECKING:
    from collections.abc import Mapping

SPAN = re.compile(r"([0-9]{1,6})([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span_of(text: str) -> timedelta:
    """Return the span that is written as 30s, 10m, 1h or 7d; raise ValueError."""
    found = SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a time such as 30s, 10m, 1h or 7d")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def require_address(text: str, name: str) -> str:
    """Return an HTTP URL; raise ValueError that names it."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(f"{name} must be a URL that begins with http:// or https://")
    return text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the remote HookHub, as the program and ``manage.py listen`` have them."""
    parser.add_argument("--url", default=os.environ.get("HOOKHUB_URL"), help="HookHub's URL [HOOKHUB_URL]")
    parser.add_argument(
        "--api-key",
        default=os.environ.get("HOOKHUB_API_KEY"),
        help="a key with the scope manage, which others can see in the process list [HOOKHUB_API_KEY]",
    )
    parser.add_argument("--events", default="*", help="the event types to forward, separated by commas [all]")
    parser.add_argument("--organization", help="the organization, if the key is for several")
    parser.add_argument("--repository", help="only events of this repository")
    parser.add_argument("--since", metavar="TIME", help="also events of the last 30s, 10m, 1h or 7d")


def run(forwarding: Forwarding, *, show: Callable[[str], None], tell: Callable[[str], None]) -> None:
    """Forward until SIGINT or SIGTERM, then print a summary. Raise Failed."""
    forwarder = Forwarder(forwarding, show=show, tell=tell)

    def stop(*_: object) -> None:
        # What waits for an event is interrupted; a second signal also interrupts the deletion of the webhook.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)
        forwarder.stop()
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        forwarder.run()
    except KeyboardInterrupt:
        tell("")
    except requests.RequestException as error:
        raise Failed(f"{forwarding.url}: {reason(error)}") from error
    except Unavailable as error:
        raise Failed(f"{forwarding.url}: {error}. Try again in a moment.") from error
    except Gone as error:
        raise Failed(f"{forwarding.url} has no such address. Is the URL right?") from error
    finally:
        tell(forwarder.summary())


def forwarding_of(options: Mapping[str, Any], *, target: str, secret: str | None) -> Forwarding:
    """Return what the options ask for; raise ValueError that names what is missing or invalid."""
    if not options["url"] or not options["api_key"]:
        raise ValueError("Specify --url and --api-key, or set HOOKHUB_URL and HOOKHUB_API_KEY.")
    return Forwarding(
        # As the SDKs take the same setting: with or without the version, and with the line break of a file.
        url=require_address(options["url"].strip(), "--url").rstrip("/").removesuffix("/v1"),
        api_key=clean_key(options["api_key"]),
        target=require_address(target, "--forward"),
        events=[part.strip() for part in options["events"].split(",") if part.strip()],
        format=options["format"],
        secret=secret,
        organization=options["organization"],
        repository=options["repository"],
        since=None if options["since"] is None else span_of(options["since"]),
        as_json=options["json"],
    )


def main() -> None:
    """Run as a program of its own."""
    parser = argparse.ArgumentParser(description="Forward the events of a HookHub to a program on this machine.")
    parser.add_argument("--forward", required=True, metavar="URL", help="where to send the events")
    add_arguments(parser)
    parser.add_argument(
        "--secret",
        default=os.environ.get("HOOKHUB_WEBHOOK_SECRET"),
        help="the secret to sign with, which others can see in the process list [HOOKHUB_WEBHOOK_SECRET; generated]",
    )
    parser.add_argument("--format", help="the wire format [the organization's]")
    parser.add_argument("--json", action="store_true", help="print one JSON object per event")
    options = vars(parser.parse_args())
    try:
        forwarding = forwarding_of(options, target=options["forward"], secret=options["secret"])
        run(
            forwarding,
            show=lambda line: print(line, flush=True),
            tell=lambda line: print(line, file=sys.stderr, flush=True),
        )
    except (ValueError, Failed) as error:
        sys.exit(f"{parser.prog}: {error}")


if __name__ == "__main__":
    main()
