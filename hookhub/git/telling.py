"""From one push to the events that tell of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from hookhub.git.history import History
from hookhub.git.payloads import Identity, Push
from hookhub.git.repository import Repository
from hookhub.git.shapes import SHAPES, Scene


def build_events(
    push: Push, *, repository: Repository, identity: Identity, before: dict[str, str], dialect: str, is_first: bool
) -> Iterator[str]:
    """Yield the events of a push in order, each as one line of JSON ready for the API."""
    history = History(push, repository=repository, before=before)
    # Nobody is told of notes and reviews.
    for change in (change for change in push.changes if change.kind is not None):
        scene = Scene(push, identity, history, is_first=is_first)
        is_first = False
        for place, (event_type, data) in enumerate(SHAPES[dialect](scene, change)):
            parts = (identity.name, change.old, change.new, change.ref, event_type, str(place), push.nonce)
            event = {
                "id": hashlib.sha256("\n".join(parts).encode()).hexdigest(),
                "type": event_type,
                "timestamp": push.pushed_at,
                "repository": identity.name,
                "data": data,
            }
            yield json.dumps(event, ensure_ascii=False, separators=(",", ":"))
