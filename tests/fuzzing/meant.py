"""The answers that differ from the OpenAPI document and are meant to: `meant.toml`, read and applied."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REFUSED = frozenset({400, 422})
LIST = Path(__file__).parent / "meant.toml"


@dataclass(frozen=True)
class Meant:
    """An exception: of some operations, one check's failures that ``says`` matches, and why they are meant.

    What has to match is each of the faults that a refusal names, or what the check says of anything else.
    """

    operations: tuple[str, ...]
    check: str
    says: re.Pattern[str]
    reason: str


@dataclass(frozen=True)
class Finding:
    """A failure: the operation, the names of the checks that can raise it, and the texts that describe it."""

    operation: str
    checks: Sequence[str]
    texts: Sequence[str]

    @classmethod
    def of(cls, operation: str, *, checks: Sequence[str], message: str, status: int, body: bytes) -> "Finding":
        """Return the finding that an answer led a check to."""
        return cls(operation, checks, (faults_in(body) if status in REFUSED else []) or [message])

    def is_meant(self, exceptions: Sequence[Meant]) -> bool:
        """Return whether all that it says is covered by exceptions for its operation and check."""
        about = [one for one in exceptions if self.operation in one.operations and one.check in self.checks]
        return all(any(one.says.fullmatch(text) for one in about) for text in self.texts)


def read(path: Path = LIST) -> list[Meant]:
    """Return the exceptions of a list."""
    rows: list[dict[str, Any]] = tomllib.loads(path.read_text())["meant"]
    return [
        Meant(
            operations=tuple(row["operations"]),
            check=row["check"],
            says=re.compile("|".join(f"(?:{one})" for one in row["says"]), re.DOTALL),
            reason=row["reason"],
        )
        for row in rows
    ]


def faults_in(body: bytes) -> list[str]:
    """Return what an answer says is wrong, as `field: sentence` each, or its one sentence."""
    try:
        said = json.loads(body)
    except ValueError:
        return []
    if not isinstance(said, Mapping):
        return []
    # HookHub's own shape, SocialGateway's, and Sigmagit's.
    error = said.get("error")
    if isinstance(error, Mapping):
        rows = [f"{row['field']}: {row['message']}" for row in error["fields"]]
        return rows or [str(error["message"])]
    if "errors" in said:
        return [f"{row.get('field', '')}: {row.get('message', row['code'])}" for row in said["errors"]]
    return [str(error if error is not None else said.get("message"))]
