"""Finds the attempts of a hook that succeeded, or those that did not, reading a bounded number of rows."""

from typing import NamedTuple
from uuid import UUID

from deliveries.db import arrays, sql
from deliveries.models import Attempt, Webhook

# How many attempts a page looks at: no index has their outcomes, and a hook may have millions.
MAX_READ = 10_000
# Above the id of any attempt.
LAST_ID = UUID(int=2**128 - 1)


class Found(NamedTuple):
    """The ids of a page, newest first, and that below which the next page begins; None if there is none."""

    ids: list[UUID]
    onward: UUID | None


def find(webhook: Webhook, *, succeeded: bool, below: UUID | None, most: int) -> Found:
    """Return up to ``most`` of a webhook's attempts: fewer, perhaps none, if enough others were looked at."""
    rows = sql.run(
        FIND_ATTEMPTS,
        {
            "webhooks": arrays.bigints([webhook.pk]), "below": below or LAST_ID, "delivered": Attempt.Outcome.DELIVERED,
            "succeeded": succeeded, "read": MAX_READ, "most": most + 1,
        },
    )  # fmt: skip
    ids = [attempt_id for attempt_id, _, matches in rows if matches]
    if len(ids) > most:
        return Found(ids[:most], ids[most - 1])
    is_cut = bool(rows) and rows[-1][1] == MAX_READ
    return Found(ids, rows[-1][0] if is_cut else None)


# Those that match, and the last that may be read, whether it matches or not. By an array and in the order of the
# index's columns, so that it is read and no other.
FIND_ATTEMPTS = """
SELECT id, place, matches FROM (
    SELECT id, row_number() OVER (ORDER BY webhook_id, id DESC) AS place,
           (outcome = %(delivered)s) = %(succeeded)s AS matches
    FROM (
        SELECT id, webhook_id, outcome FROM hookhub_attempt
        WHERE webhook_id = ANY(%(webhooks)s::bigint[]) AND id < %(below)s
        ORDER BY webhook_id, id DESC LIMIT %(read)s
    ) AS log
) AS covered
WHERE matches OR place = %(read)s
ORDER BY place LIMIT %(most)s
"""
