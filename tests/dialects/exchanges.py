"""Golden exchanges: a dialect's documented examples, as a file of requests and expected responses, in order.

Lines with ``>`` are a request, lines with ``<`` its response; other lines are comments. ``{{name}}`` in a response
matches any text the first time, and the same text from then on; ``{{*}}`` matches anything. Only the headers listed are
compared; the body is compared as JSON, completely.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.api import Caller

GOLDEN = Path(__file__).parent / "golden"
STORIES = sorted((file.parent.name, file.stem) for file in GOLDEN.glob("*/*.http"))
PLACE = re.compile(r"\{\{(\*|\w+)\}\}")


@dataclass
class Exchange:
    """One request and its response, as text."""

    asked: list[str] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)


def read(file: Path) -> list[Exchange]:
    """Return the exchanges of a file."""
    found: list[Exchange] = []
    for line in file.read_text().splitlines():
        if line.startswith(">"):
            if not found or found[-1].answered:
                found.append(Exchange())
            found[-1].asked.append(line[2:])
        elif line.startswith("<"):
            found[-1].answered.append(line[2:])
    return found


def tell(file: Path, *, caller: Caller) -> dict[str, str]:
    """Send the requests and compare the responses; return the text that each placeholder matched."""
    places: dict[str, str] = {}
    exchanges = read(file)
    assert exchanges, f"{file} has no exchange in it"
    for exchange in exchanges:
        (method, address), headers, content = parted([filled(line, places) for line in exchange.asked])
        content_type = headers.pop("Content-Type", "application/json")
        answer = caller.send(method, address, content.encode(), content_type=content_type, headers=headers)
        (status,), wanted_headers, wanted = parted(exchange.answered)
        where = f"{file.name}: {method} {address}: {answer.content.decode()}"
        assert answer.status_code == int(status), where
        for name, value in wanted_headers.items():
            compare(answer.headers.get(name), value, places, where=f"{where}: {name}")
        if wanted:
            compare(answer.json(), json.loads(wanted), places, where=where)
        else:
            assert answer.content == b"", where
    return places


def parted(lines: list[str]) -> tuple[list[str], dict[str, str], str]:
    """Return the text of the first line, the headers, and the body."""
    end = lines.index("") if "" in lines else len(lines)
    headers = dict(line.split(": ", 1) for line in lines[1:end])
    return lines[0].split(), headers, "\n".join(lines[end + 1 :])


def filled(text: str, places: dict[str, str]) -> str:
    return PLACE.sub(lambda found: places[found[1]], text)


def compare(found: Any, wanted: Any, places: dict[str, str], *, where: str) -> None:
    """Fail unless a value matches the expected one; record what its placeholders match."""
    if isinstance(wanted, dict):
        assert isinstance(found, dict), where
        assert found.keys() == wanted.keys(), where
        for name in wanted:
            compare(found[name], wanted[name], places, where=f"{where}: {name}")
    elif isinstance(wanted, list):
        assert isinstance(found, list), where
        assert len(found) == len(wanted), where
        for one, other in zip(found, wanted, strict=True):
            compare(one, other, places, where=where)
    elif isinstance(wanted, str) and PLACE.search(wanted):
        match_places(str(found), wanted, places, where=where)
    else:
        assert (type(found), found) == (type(wanted), wanted), where


def match_places(found: str, wanted: str, places: dict[str, str], *, where: str) -> None:
    """Match a text that contains placeholders; a placeholder already recorded must match the same text."""
    pattern, end, seen = "", 0, set()
    for place in PLACE.finditer(wanted):
        pattern, name = pattern + re.escape(wanted[end : place.start()]), place[1]
        if name == "*":
            pattern += ".*"
        elif name in places:
            pattern += re.escape(places[name])
        else:
            pattern += f"(?P={name})" if name in seen else rf"(?P<{name}>[^\s/\"<>]+)"
            seen.add(name)
        end = place.end()
    matched = re.fullmatch(pattern + re.escape(wanted[end:]), found)
    assert matched is not None, f"{where}: {found!r} is not {wanted!r}"
    places.update(matched.groupdict())
