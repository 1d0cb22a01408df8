"""Every endpoint of every dialect, and rows for its paths to address."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from deliveries.models import Attempt, Repository, Webhook
from hookhub.dialects import DIALECTS, Dialect
from hookhub.dialects.base import AnyJSONParser, DialectView

PART = re.compile(r"<(?:\w+:)?(\w+)>")


class Door(NamedTuple):
    """One method of one route, as the registry has it."""

    dialect: str
    prefix: str
    method: str
    route: str

    @property
    def names(self) -> set[str]:
        """Return the names of its path parameters."""
        return set(PART.findall(self.route))

    def address(self, behind: "Behind", **instead: str) -> str:
        """Return its path to the rows in ``behind``; ``instead`` overrides path parameters."""
        words = {**behind.words(DIALECTS[self.dialect]), **instead}
        return "/" + PART.sub(lambda found: words[found[1]], self.route)


@dataclass
class Behind:
    """The rows that paths lead to: a repository, a webhook of it, and an attempt of a delivery to that webhook."""

    repository: Repository
    webhook: Webhook
    attempt: Attempt

    def words(self, dialect: Dialect) -> dict[str, str]:
        """Return the value of each path parameter."""
        return {
            "owner": self.repository.organization.slug,
            "repo": self.repository.name,
            "webhook": dialect.webhook_id(self.webhook),
            "delivery": dialect.delivery_id(self.attempt),
            "rest": "there/is/nothing/here",
        }


def doors() -> Iterator[Door]:
    """Yield every method of every route under every prefix."""
    for dialect in DIALECTS.values():
        for prefix in dialect.prefixes:
            for pattern in dialect.routes:
                for method in methods_of(pattern.callback.cls):
                    yield Door(dialect.slug, prefix, method, prefix + str(pattern.pattern))


def reads_json(door: Door) -> bool:
    """Return whether a request's body is JSON there, and not a form."""
    dialect = DIALECTS[door.dialect]
    route = next(each for each in dialect.routes if door.route == door.prefix + str(each.pattern))
    return AnyJSONParser in route.callback.cls.parser_classes


def methods_of(view: type[DialectView]) -> list[str]:
    """Return the methods that a view implements, without the framework's own."""
    return [name.upper() for name in view.http_method_names if name not in {"head", "options"} and hasattr(view, name)]


def texts_in(value: Any) -> Iterator[str]:
    """Yield every string in a JSON value."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield value
