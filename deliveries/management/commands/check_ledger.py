"""``manage.py check_ledger``: check the invariants of events, deliveries and attempts, and report violations."""

import json
from argparse import ArgumentTypeError
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from deliveries.maintenance import invariants
from deliveries.maintenance.invariants import Finding, Totals
from deliveries.models import Delivery

NAMES = {"ok": "ok", "fault": "FAULT", "waiting": "waiting"}


class Command(BaseCommand):
    """Check all invariants of the running system; exit with status 1 if any is violated."""

    help = (
        "Check that every event has its deliveries, and every delivery its attempts and a valid state. Read-only; can "
        "run at any time. Exits with status 1 if an invariant is violated. What is only late is reported as `waiting`."
    )

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
        findings = []
        for finding in invariants.examine(
            now=now, grace=options["grace"], settling=options["settling"], within=options["within"]
        ):
            findings.append(finding)
            if not options["json"]:
                self.tell(finding)
        totals = invariants.count_all()
        faults = sum(finding.verdict == "fault" for finding in findings)
        if options["json"]:
            self.stdout.write(json.dumps(as_json(findings, totals, now=now), indent=2))
        else:
            self.stdout.write(sentence(totals))
        if faults:
            raise CommandError(f"{faults} of {len(findings)} invariants violated.")
        if not options["json"]:
            self.stdout.write(self.style.SUCCESS("All invariants hold."))

    def tell(self, finding: Finding) -> None:
        """Print the result of one check and, below it, a sample of the rows that violate it."""
        style = {"ok": self.style.SUCCESS, "fault": self.style.ERROR, "waiting": self.style.WARNING}[finding.verdict]
        self.stdout.write(f"{style(f'{NAMES[finding.verdict]:<8}')} {finding.check.promise}{how_many(finding)}")
        if finding.count:
            self.stdout.write(f"         {finding.check.meaning}")
            for line in finding.sample:
                self.stdout.write(f"           {line}")
            if finding.count > len(finding.sample):
                self.stdout.write("           …")
        # A check may take a while, and the report should appear line by line even in a pipe.
        self.stdout.flush()


def how_many(finding: Finding) -> str:
    """Return the end of a check's line: the number of rows that violate it, or "" for none."""
    if not finding.count:
        return ""
    return f": violated by {'more than ' if finding.is_at_least else ''}{finding.count:,}"


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


def as_json(findings: list[Finding], totals: Totals, *, now: datetime) -> dict[str, object]:
    """Return the report as a JSON-serializable dict."""
    return {
        "ok": not any(finding.verdict == "fault" for finding in findings),
        "checked_at": now.isoformat(),
        "totals": {
            "events": totals.events,
            "deliveries": totals.deliveries,
            "attempts": totals.attempts,
            "states": totals.states,
        },
        "checks": [
            {
                "name": finding.check.name,
                "promise": finding.check.promise,
                "verdict": finding.verdict,
                "count": finding.count,
                "count_is_at_least": finding.is_at_least,
                "sample": list(finding.sample),
            }
            for finding in findings
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
