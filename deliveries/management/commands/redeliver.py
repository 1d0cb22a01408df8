"""``manage.py redeliver``: send deliveries again, selected by id or by filters."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.db.models import QuerySet

from deliveries import audit, redelivery, timezone
from deliveries.db import sql
from deliveries.db.ids import first_id_at
from deliveries.event_types.topics import TYPE_RULE, is_type
from deliveries.models import Delivery, Event, Organization, Webhook
from deliveries.redelivery import BLOCKING, REDELIVERABLE, Selection, blocked_reason

BATCH = 500
FILTERS = ("webhook", "organization", "event", "state", "type", "after", "before")
# UUIDv7 ids cannot express an earlier time.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The number of organizations that an error message lists.
MAX_SHOWN = 20

CHANGED_MEANWHILE = "changed state in the meantime"


class Command(BaseCommand):
    """Make deliveries due now and restart their retry schedules."""

    help = (
        "Send deliveries again, selected by id or by filters; a delivery must match all of them. "
        "Skips deliveries that are being sent, and those whose webhook is disabled or deleted."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the argument for ids and the options for filters."""
        parser.add_argument("deliveries", nargs="*", metavar="DELIVERY_ID", help="a delivery's id")
        parser.add_argument("--webhook", metavar="UID")
        parser.add_argument("--organization", metavar="SLUG")
        parser.add_argument("--event", metavar="UUID")
        parser.add_argument("--state", action="append", choices=REDELIVERABLE, help="can be repeated [all states]")
        parser.add_argument("--type", metavar="TYPE", help="event type, for example push")
        parser.add_argument("--after", metavar="ISO", help="created at this time or later; UTC without an offset")
        parser.add_argument("--before", metavar="ISO", help="created before this time")
        parser.add_argument("--dry-run", action="store_true", help="only print what would be sent")

    @audit.by_command("redeliver")
    def handle(self, *_: Any, **options: Any) -> None:
        """Select the deliveries and make them due, batch by batch."""
        now = timezone.now()
        selections = select_ids(options) if options["deliveries"] else select_by_filter(options)
        due, examined = 0, 0
        left: Counter[str] = Counter()
        for batch in in_batches(selections, now=now):
            examined += len(batch)
            sendable = [delivery.pk for delivery in batch if blocked_reason(delivery) is None]
            left.update(reason for delivery in batch if (reason := blocked_reason(delivery)) is not None)
            made_due = len(sendable) if options["dry_run"] else redelivery.redeliver(sendable, now=now)
            due += made_due
            left[CHANGED_MEANWHILE] += len(sendable) - made_due
            if len(batch) == BATCH:
                self.stdout.write(f"{examined:,} examined, {due:,} made due")
                self.stdout.flush()
        verb = "would be made due" if options["dry_run"] else "made due"
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left.most_common() if count)
        self.stdout.write(f"{due:,} {verb}, {left.total():,} skipped{f' ({reasons})' if reasons else ''}.")


def in_batches(selections: list[Selection], *, now: datetime) -> Iterator[list[Delivery]]:
    """Yield the deliveries with their webhooks in batches, selection by selection, each in the order of ids."""
    # Deliveries created while this runs are excluded; otherwise it might never end.
    end = first_id_at(now + timedelta(milliseconds=1))
    for selection in selections:
        selected = selection.deliveries().filter(id__lt=end).order_by("id").select_related("webhook")
        selected = selected.only("state", *BLOCKING)
        rest = selected
        while batch := read(rest[:BATCH]):
            yield batch
            rest = selected.filter(id__gt=batch[-1].pk)


def read(deliveries: "QuerySet[Delivery]") -> list[Delivery]:
    """Return the deliveries, however long it takes to find few among millions."""
    with transaction.atomic():
        sql.run(sql.ALLOW_ANY_TIME, {})
        return list(deliveries)


def select_ids(options: dict[str, Any]) -> list[Selection]:
    """Return one selection per organization for the given ids. Raise CommandError if an id does not exist."""
    if any(options[name] for name in FILTERS):
        raise CommandError("Use either delivery ids or filters, not both.")
    given = dict.fromkeys(as_uuid(text, of="DELIVERY_ID") for text in options["deliveries"])
    organizations = dict(Delivery.objects.filter(id__in=given).values_list("id", "organization_id"))
    if missing := [str(delivery) for delivery in given if delivery not in organizations]:
        raise CommandError(f"Unknown deliveries: {', '.join(missing)}. Nothing was sent.")
    return [
        Selection(
            organization_id=organization,
            ids=tuple(delivery for delivery in given if organizations[delivery] == organization),
        )
        for organization in sorted(set(organizations.values()))
    ]


def select_by_filter(options: dict[str, Any]) -> list[Selection]:
    """Return one selection per organization in which the filters may match. Raise CommandError if they are invalid."""
    if not any(options[name] for name in FILTERS):
        raise CommandError(
            "This would select all deliveries. Use delivery ids, or filter with "
            + ", ".join(f"--{name}" for name in FILTERS)
            + "."
        )
    webhook = find_webhook(options["webhook"]) if options["webhook"] else None
    event = find_event(options["event"]) if options["event"] else None
    after, before = (as_moment(options[name], of=f"--{name}") for name in ("after", "before"))
    if after and before and before <= after:
        raise CommandError(f"--before ({before:%Y-%m-%d %H:%M}) is not later than --after ({after:%Y-%m-%d %H:%M}).")
    if options["type"] and not is_type(options["type"]):
        raise CommandError(f"--type: {options['type']!r} is not a valid event type: {TYPE_RULE}.")
    organizations = find_organizations(options["organization"])
    for name, found in (("webhook", webhook), ("event", event)):
        if found is not None:
            organizations = [one for one in organizations if one.pk == found.organization_id]
            if not organizations:
                raise CommandError(f"--{name}: {options[name]} belongs to another organization.")
    return [
        Selection(
            organization_id=organization.pk,
            webhook_id=webhook.pk if webhook else None,
            event_id=event.pk if event else None,
            states=tuple(options["state"] or ()),
            event_type=options["type"],
            after=after,
            before=before,
        )
        for organization in organizations
    ]


def find_webhook(text: str) -> Webhook:
    """Return the webhook with this id. Raise CommandError if there is none."""
    webhook = Webhook.objects.filter(uid=as_uuid(text, of="--webhook")).first()
    if webhook is None:
        raise CommandError(f"--webhook: {text} does not exist.")
    return webhook


def find_event(text: str) -> Event:
    """Return the event with this id, without its payload. Raise CommandError if there is none."""
    event = Event.objects.filter(pk=as_uuid(text, of="--event")).only("id", "organization_id").first()
    if event is None:
        raise CommandError(f"--event: {text} does not exist.")
    return event


def find_organizations(slug: str | None) -> list[Organization]:
    """Return the organization with this slug, or all for None. Raise CommandError for an unknown slug."""
    everyone = Organization.objects.order_by("slug")
    if slug is None:
        return list(everyone)
    named = list(everyone.filter(slug=slug))
    if not named:
        slugs = list(everyone.values_list("slug", flat=True)[: MAX_SHOWN + 1])
        there = ", ".join(slugs[:MAX_SHOWN]) + (", …" if len(slugs) > MAX_SHOWN else "")
        raise CommandError(f"--organization: {slug!r} does not exist; existing organizations: {there or 'none'}.")
    return named


def as_uuid(text: str, *, of: str) -> UUID:
    """Return the UUID in ``text``. Raise CommandError, naming the option ``of``, if it is none."""
    try:
        return UUID(text)
    except ValueError as error:
        raise CommandError(
            f"{of}: {text!r} is not an id; an id looks like 019538a1-4f00-7000-8000-0123456789ab."
        ) from error


def as_moment(text: str | None, *, of: str) -> datetime | None:
    """Return the time for an ISO 8601 date or time, in UTC without an offset; None for None. Raise CommandError."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise CommandError(f"{of}: {text!r} is not a date; write 2026-03-04 or 2026-03-04T12:00Z.") from error
    return max(moment, EPOCH)
