"""Builds the events of a push."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import closing

from hookhub.git.history import History
from hookhub.git.payloads import Identity, Push
from hookhub.git.repository import Repository
from hookhub.git.shapes import SHAPES, ChangeContext
from hookhub.git.spool import Line, Progress


def build_events(
    push: Push,
    *,
    repository: Repository,
    identity: Identity,
    before: Mapping[str, str],
    dialect: str,
    is_first: bool,
    since: Progress,
) -> Iterator[Line]:
    """Yield the events of a push in order from ``since`` on, each as one line of JSON for the API.

    Event ids are deterministic, so that building a push again publishes nothing twice.
    """
    # Notes and review refs have no events.
    changes = [change for change in push.changes if change.kind is not None]
    if not changes:
        return
    with closing(History(push, repository=repository, before=before)) as history:
        for number in range(since.change, len(changes)):
            change = changes[number]
            context = ChangeContext(push, identity, history, is_first=is_first and number == 0)
            for place, (event_type, data) in enumerate(SHAPES[dialect](context, change)):
                if number == since.change and place < since.place:
                    continue
                parts = (identity.name, change.old, change.new, change.ref, event_type, str(place), push.nonce)
                event = {
                    "id": hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape")).hexdigest(),
                    "type": event_type,
                    "timestamp": push.pushed_at,
                    "repository": identity.name,
                    "data": data,
                }
                if push.trace:
                    event["trace"] = dict(push.trace)
                yield Line(number, place, json.dumps(event, ensure_ascii=False, separators=(",", ":")))
