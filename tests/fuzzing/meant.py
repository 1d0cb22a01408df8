"""Accepted differences between responses and the OpenAPI document: reads and applies `meant.toml`."""

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
    """An exception: for some operations, the failures of one check that ``says`` matches, and the reason.

    For a rejected request, ``says`` must match each error in the response; otherwise, the message of the check.
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
        """Return the finding for a response that a check failed on."""
        return cls(operation, checks, (faults_in(body) if status in REFUSED else []) or [message])

    def is_meant(self, exceptions: Sequence[Meant]) -> bool:
        """Return whether exceptions for its operation and check cover all of its texts."""
        about = [one for one in exceptions if self.operation in one.operations and one.check in self.checks]
        return all(any(one.says.fullmatch(text) for one in about) for text in self.texts)


def read(path: Path = LIST) -> list[Meant]:
    """Return the exceptions in a list."""
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
    """Return the errors in a response body as `field: sentence`, or its single sentence."""
    try:
        said = json.loads(body)
    except ValueError:
        return []
    if not isinstance(said, Mapping):
        return []
    # HookHub's own shape and JSON-RPC's, SocialGateway's, and Sigmagit's.
    error = said.get("error")
    if isinstance(error, Mapping):
        rows = [f"{row['field']}: {row['message']}" for row in error.get("fields", ())]
        return rows or [str(error["message"])]
    if "errors" in said:
        return [f"{row.get('field', '')}: {row.get('message', row['code'])}" for row in said["errors"]]
    return [str(error if error is not None else said.get("message"))]
