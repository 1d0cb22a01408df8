"""The custom headers in a webhook's form: stored ones can be removed, and new ones added, without showing a value."""

from typing import Any, NamedTuple

from django.utils.translation import gettext

from deliveries.formats import MASK
from deliveries.webhooks import masks

# Rows for more headers; a webhook has at most twenty.
EMPTY_ROWS = 3


class Stored(NamedTuple):
    """A stored header, and whether it is to be removed."""

    name: str
    is_removed: bool


class HeaderRows:
    """The rows of one form; ``changed`` has all headers as the engine expects them, or None if they stay."""

    def __init__(self, data: Any, *, stored: list[str]) -> None:
        self.errors: list[str] = []
        self.changed: dict[str, object] | None = None
        removed: set[str] = set() if data is None else set(data.getlist("remove_header"))
        self.stored = [Stored(name, name in removed) for name in stored]
        # Only the names: a value may be a token, which is not written into a page.
        self.typed = [""] * EMPTY_ROWS
        if data is not None:
            self._read(data.getlist("header_name"), data.getlist("header_value"), removed=removed & set(stored))

    def _read(self, names: list[str], values: list[str], *, removed: set[str]) -> None:
        rows = [(name.strip(), value.strip()) for name, value in zip(names, values, strict=False)]
        added = [(name, value) for name, value in rows if name or value]
        self.typed = [name for name, _ in added] + [""] * max(0, EMPTY_ROWS - len(added))
        if len({name.lower() for name, _ in added}) < len(added):
            self.errors.append(gettext("Write each header once; upper and lower case make no difference."))
        if added or removed:
            changes: dict[str, object] = {**dict.fromkeys(removed), **dict(added)}
            kept = {each.name: MASK for each in self.stored}
            self.changed = masks.merge_headers(changes, stored=kept)
