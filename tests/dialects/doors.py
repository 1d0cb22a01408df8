"""Every door of every dialect, with something behind it to knock for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from deliveries.models import Attempt, Repository, Webhook
from hookhub.dialects import DIALECTS, Dialect
from hookhub.dialects.base import DialectView

PART = re.compile(r"<(?:\w+:)?(\w+)>")


class Door(NamedTuple):
    """One method of one route, as the registry has it."""

    dialect: str
    prefix: str
    method: str
    route: str

    @property
    def names(self) -> set[str]:
        """The parts of its path that name something."""
        return set(PART.findall(self.route))

    def address(self, behind: "Behind", **instead: str) -> str:
        """Its path to what is behind it, or with other words ``instead`` to somewhere else."""
        words = {**behind.words(DIALECTS[self.dialect]), **instead}
        return "/" + PART.sub(lambda found: words[found[1]], self.route)


@dataclass
class Behind:
    """What the paths lead to: a repository, a webhook of it, and an attempt made for it."""

    repository: Repository
    webhook: Webhook
    attempt: Attempt

    def words(self, dialect: Dialect) -> dict[str, str]:
        """What stands for each part of a path."""
        return {
            "owner": self.repository.organization.slug,
            "repo": self.repository.name,
            "webhook": dialect.webhook_id(self.webhook),
            "delivery": dialect.delivery_id(self.attempt),
            "rest": "there/is/nothing/here",
        }


def doors() -> Iterator[Door]:
    """Every method of every route under every prefix."""
    for dialect in DIALECTS.values():
        for prefix in dialect.prefixes:
            for pattern in dialect.routes:
                for method in methods_of(pattern.callback.cls):
                    yield Door(dialect.slug, prefix, method, prefix + str(pattern.pattern))


def methods_of(view: type[DialectView]) -> list[str]:
    """The methods that a view answers, but for the framework's own."""
    return [name.upper() for name in view.http_method_names if name not in {"head", "options"} and hasattr(view, name)]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield value
