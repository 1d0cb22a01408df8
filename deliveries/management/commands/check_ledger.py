"""``manage.py check_ledger``: check the invariants of events, deliveries and attempts, and report violations."""

import json
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from deliveries import timezone
from deliveries.maintenance import invariants
from deliveries.maintenance.invariants import CheckResult, Totals
from deliveries.models import Delivery

NAMES = {"ok": "ok", "fault": "FAULT", "waiting": "waiting"}


class Command(BaseCommand):
    """Check all invariants of the running system; exit with status 1 if any is violated."""

    help = (
        "Check that every event has its deliveries, and every delivery its attempts and a valid state. Read-only; can "
        "run at any time. Exits with status 1 if an invariant is violated. What is only late is reported as `waiting`."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options for tolerances and for the output format."""
        parser.add_argument("--json", action="store_true", help="print a JSON object instead of the report")
        parser.add_argument(
            "--grace",
            type=span,
            default=invariants.GRACE,
            metavar="SECONDS",
            help=f"tolerate fan-out and expired leases up to SECONDS late [{invariants.GRACE.total_seconds():g}]",
        )
        parser.add_argument(
            "--settling",
            type=span,
            default=invariants.SETTLING,
            metavar="SECONDS",
            help="report a missing delivery as doubtful, not lost, if the webhook changed within SECONDS of the event "
            f"[{invariants.SETTLING.total_seconds():g}]",
        )
        parser.add_argument(
            "--within",
            type=days,
            metavar="DAYS",
            help="check the deliveries of events of the last DAYS only [the retention]",
        )

    def handle(self, *_: Any, **options: Any) -> None:
        """Check the invariants, report each result, and raise CommandError if any is violated."""
        now = timezone.now()
        results = []
        for result in invariants.check_all(
            now=now, grace=options["grace"], settling=options["settling"], within=options["within"]
        ):
            results.append(result)
            if not options["json"]:
                self.report(result)
        totals = invariants.count_all()
        faults = sum(result.verdict == "fault" for result in results)
        if options["json"]:
            self.stdout.write(json.dumps(as_json(results, totals, now=now), indent=2))
        else:
            self.stdout.write(sentence(totals))
        if faults:
            raise CommandError(f"{faults} of {len(results)} invariants violated.")
        if not options["json"]:
            self.stdout.write(self.style.SUCCESS("All invariants hold."))

    def report(self, result: CheckResult) -> None:
        """Print the result of one check and, below it, a sample of the rows that violate it."""
        style = {"ok": self.style.SUCCESS, "fault": self.style.ERROR, "waiting": self.style.WARNING}[result.verdict]
        self.stdout.write(f"{style(f'{NAMES[result.verdict]:<8}')} {result.check.invariant}{how_many(result)}")
        if result.count:
            self.stdout.write(f"         {result.check.meaning}")
            for line in result.sample:
                self.stdout.write(f"           {line}")
            if result.count > len(result.sample):
                self.stdout.write("           …")
        # A check may take a while, and the report should appear line by line even in a pipe.
        self.stdout.flush()


def how_many(result: CheckResult) -> str:
    """Return the end of a check's line: the number of rows that violate it, or "" for none."""
    if not result.count:
        return ""
    return f": violated by {'more than ' if result.is_at_least else ''}{result.count:,}"


def sentence(totals: Totals) -> str:
    """Return a sentence with the numbers of events, attempts and deliveries, the latter also by state."""
    order = {state: place for place, state in enumerate(Delivery.State.values)}
    states = sorted(totals.states, key=lambda state: order.get(state, len(order)))
    by_state = ", ".join(f"{state} {totals.states[state]:,}" for state in states)
    return (
        f"{count(totals.events, 'event')}, {count(totals.attempts, 'attempt')}, "
        f"{count(totals.deliveries, 'delivery', 'deliveries')}{': ' if by_state else ''}{by_state}."
    )


def count(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun in the singular or plural."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def as_json(results: list[CheckResult], totals: Totals, *, now: datetime) -> dict[str, object]:
    """Return the report as a JSON-serializable dict."""
    return {
        "ok": not any(result.verdict == "fault" for result in results),
        "checked_at": now.isoformat(),
        "totals": {
            "events": totals.events,
            "deliveries": totals.deliveries,
            "attempts": totals.attempts,
            "states": totals.states,
        },
        "checks": [
            {
                "name": result.check.name,
                "promise": result.check.invariant,
                "verdict": result.verdict,
                "count": result.count,
                "count_is_at_least": result.is_at_least,
                "sample": list(result.sample),
            }
            for result in results
        ],
    }


def span(text: str) -> timedelta:
    """Return the timedelta for a number of seconds, up to a century."""
    return read(text, unit=timedelta(seconds=1), name="seconds")


def days(text: str) -> timedelta:
    """Return the timedelta for a number of days, up to a century."""
    return read(text, unit=timedelta(days=1), name="days")


def read(text: str, *, unit: timedelta, name: str) -> timedelta:
    """Return the timedelta for a number of units, up to a century. Raise ArgumentTypeError, which argparse shows."""
    try:
        number = float(text)
    except ValueError:
        number = -1
    # This form of the condition also rejects NaN.
    if not 0 <= number <= timedelta(days=36500) / unit:
        raise ArgumentTypeError(f"{text!r} is not a number of {name}")
    return number * unit
