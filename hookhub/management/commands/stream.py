"""``manage.py stream``: shows the stream of published events, and lists, retries or deletes its dead letters."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from redis import Redis
from redis.exceptions import RedisError

from deliveries import audit, timezone
from deliveries.audit import Target
from deliveries.plain_text import printable
from hookhub.publishing.redis_stream import dead_letters
from hookhub.publishing.redis_stream.consumer import connect
from hookhub.publishing.redis_stream.dead_letters import Counts, DeadLetter

WHAT = ("counts", "refused", "show", "retry", "delete")
ID = re.compile(r"\d+-\d+")
MAX_FIELD_SHOWN = 100
# The number of ids that an audit entry lists; its count is complete.
MAX_ENTRIES_LISTED = 20
# Workers normally store an entry within milliseconds.
LATE = timedelta(minutes=1)


class Command(BaseCommand):
    """Show the stream's counts; list, show, retry or delete its dead letters."""

    help = (
        "Show how many entries of the stream are waiting, pending and dead-lettered (counts); list the dead letters "
        "with their errors (refused); show one in full (show ID); move them back to the stream after the cause is "
        "fixed (retry); or delete them (delete). retry and delete take ids, or --all."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options."""
        parser.add_argument("what", nargs="?", default="counts", choices=WHAT, help="the action [counts]")
        parser.add_argument("ids", nargs="*", metavar="ID", help="ids of dead letters, as listed by `stream refused`")
        parser.add_argument("--all", action="store_true", help="all current dead letters")
        parser.add_argument("--limit", type=int, default=50, help="the maximum number to list [50]")
        parser.add_argument("--json", action="store_true", help="print the counts as JSON, for monitoring")

    @audit.by_command("stream")
    def handle(self, *_: Any, **options: Any) -> None:
        """Run the requested action; raise CommandError if Redis fails."""
        stream = settings.HOOKHUB_STREAM
        if not stream:
            raise CommandError("Publishing through Redis is disabled (HOOKHUB_STREAM=off).")
        for letter_id in options["ids"]:
            if not ID.fullmatch(letter_id):
                raise CommandError(
                    f"{letter_id!r} is not an id such as 1772625600000-0; `stream refused` lists the ids."
                )
        client = connect(settings.REDIS_URL)
        try:
            match options["what"]:
                case "counts":
                    self._counts(client, stream, as_json=options["json"])
                case "refused":
                    self._list(client, stream, limit=options["limit"])
                case "show":
                    self._show(client, stream, options["ids"])
                case "retry":
                    done = self._each(dead_letters.retry, client, stream, options)
                    self.stdout.write(f"Moved {done:,} back to {stream}; the workers will read them again.")
                case "delete":
                    self.stdout.write(f"Deleted {self._each(dead_letters.delete, client, stream, options):,}.")
        except RedisError as error:
            raise CommandError(f"Redis failed: {error}") from error
        finally:
            client.close()

    def _counts(self, client: Redis, stream: str, *, as_json: bool) -> None:
        counts = dead_letters.count(client, stream)
        if as_json:
            self.stdout.write(json.dumps({"stream": stream, **asdict(counts)}, default=datetime.isoformat))
            return
        self.stdout.write(f"{stream}: {summary(counts, now=timezone.now())}")
        if counts.refused:
            self.stdout.write(
                "`manage.py stream refused` shows the errors, `stream retry` moves them back to the stream."
            )

    def _list(self, client: Redis, stream: str, *, limit: int) -> None:
        total = dead_letters.count(client, stream).refused
        listed = 0
        for each in islice(dead_letters.iterate(client, stream), min(max(0, limit), total)):
            self.stdout.write(f"{each.id}  {each.refused_at:%Y-%m-%d %H:%M:%S}  {printable(each.error)}")
            self.stdout.write(f"    {brief(each)}")
            listed += 1
        if listed < total:
            self.stdout.write(f"… and {total - listed:,} more; raise --limit to see them.")
        elif not total:
            self.stdout.write("There are no dead letters.")

    def _show(self, client: Redis, stream: str, ids: list[str]) -> None:
        if not ids:
            raise CommandError("Specify an id from `stream refused`.")
        for letter_id in ids:
            each = dead_letters.find(client, stream, letter_id)
            if each is None:
                raise CommandError(f"{letter_id} is not a dead letter.")
            self.stdout.write(f"{each.id}  dead-lettered {each.refused_at.isoformat()}  published as {each.entry_id}")
            self.stdout.write(printable(each.error))
            for name, value in zip(each.fields[::2], each.fields[1::2], strict=True):
                self.stdout.write(f"{printable(name)}: {printable(value)}")

    def _each(self, act: Callable[[Redis, str, str], bool], client: Redis, stream: str, options: dict[str, Any]) -> int:
        """Apply ``act`` to the given dead letters, or to all; return the number of successes."""
        if bool(options["ids"]) == options["all"]:
            raise CommandError("Specify ids from `stream refused`, or --all.")
        ids = [each.id for each in dead_letters.iterate(client, stream)] if options["all"] else options["ids"]
        record(options["what"], stream, ids)
        done = 0
        for letter_id in ids:
            if act(client, stream, letter_id):
                done += 1
            elif not options["all"]:
                self.stderr.write(f"{letter_id} is not a dead letter.")
        return done


def record(what: str, stream: str, ids: Sequence[str]) -> None:
    """Record an action on dead letters before it is carried out: Redis and the audit log share no transaction."""
    if ids:
        action = {"retry": "stream.entries_retried", "delete": "stream.entries_deleted"}[what]
        after = {"count": len(ids), "entries": ids[:MAX_ENTRIES_LISTED]}
        with transaction.atomic():
            audit.record(action, target=Target("stream", stream, stream, None), after=after, now=timezone.now())


def summary(counts: Counts, *, now: datetime) -> str:
    """Return the counts in one line."""
    oldest = now - counts.oldest_at if counts.oldest_at else timedelta(0)
    line = f"{counts.waiting:,} waiting, {counts.in_hand:,} pending, {counts.refused:,} dead-lettered"
    if oldest >= LATE:
        line += f". The oldest is {timedelta(seconds=round(oldest.total_seconds()))} old. Is a worker running?"
    return line


def brief(each: DeadLetter) -> str:
    """Return the beginning of what was published, for a list."""
    pairs = zip(each.fields[::2], each.fields[1::2], strict=True)
    return " ".join(f"{printable(name)} {printable(value[:MAX_FIELD_SHOWN])}" for name, value in islice(pairs, 3))
