"""The prose of the code and the documents uses the field's words; docs/glossary.md explains them."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from hookhub.procfile import ROOT

PACKAGES = ("deliveries", "hookhub", "chaos", "bench", "testbed", "sdk", "tests")
DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "sdk").glob("*/*.md")))

# What readers had to read twice, and what to write instead.
INSTEAD = {
    r"whoever|whomever": "name the process, the caller or the row",
    r"somebody|nobody": "name the subject: a process, a request, a user; or “none”",
    r"will not do": "is invalid",
    r"in hand": "in flight, pending or leased",
    r"owed? (?:it|to)|is owed|are owed": "create a delivery; has unfinished deliveries",
    r"stands? in line|in line before": "is ready",
    r"rings? (?:a|the|its) bell|doorbell": "send a wake-up",
    r"the (?:short|long) way": "the fast path, the DRF path",
    r"line(?:s|d)? up": "promote, become ready",
    r"lets? go of": "release, free",
    r"in nobody's way": "does not block",
    r"as it were": "",
}
FOUND_IN_PROSE = re.compile(rf"\b(?:{'|'.join(INSTEAD)})\b", re.IGNORECASE)
# Imperatives of which none says what a function returns or does.
OPENING = re.compile(r"(?:Give|Tell|Say|Have)\b")


def sources() -> list[Path]:
    return sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "node_modules" not in path.parts and path != Path(__file__)
    )


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            if text is not None:
                yield node.body[0].lineno, text


def may_have_coinage_in_comment(source: str) -> bool:
    """Return False if no comment has one: to tell comments from the rest takes a hundred times as long."""
    return any(FOUND_IN_PROSE.search(line, line.index("#")) for line in source.split("\n") if "#" in line)


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each comment."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def complaints(text: str, *, where: str, line: int) -> list[str]:
    """Return a line for each coinage in a text, with its address and what to write instead."""
    return [
        f"{where}:{line + text.count(chr(10), 0, found.start())}: “{found[0]}”"
        for found in FOUND_IN_PROSE.finditer(text)
    ]


@pytest.mark.parametrize("package", PACKAGES)
def test_comments_and_docstrings_use_the_fields_words(package: str) -> None:
    wrong = []
    for path in sources():
        where = str(path.relative_to(ROOT))
        if not where.startswith(f"{package}/"):
            continue
        source = path.read_text()
        for line, text in docstrings(source):
            wrong += complaints(text, where=where, line=line)
            if begun := OPENING.match(text):
                wrong.append(f"{where}:{line}: begins with “{begun[0]}”; write what is returned or done")
        for line, text in comments(source) if may_have_coinage_in_comment(source) else ():
            wrong += complaints(text, where=where, line=line)
    assert wrong == []


def test_documents_use_the_fields_words() -> None:
    wrong = []
    for path in DOCUMENTS:
        wrong += complaints(path.read_text(), where=str(path.relative_to(ROOT)), line=1)
    assert wrong == []


@pytest.mark.parametrize("coinage", ["whoever", "somebody", "in hand", "rings the bell", "the long way", "will not do"])
def test_a_coinage_is_found_wherever_it_stands(coinage: str) -> None:
    assert complaints(f"One line.\nThen {coinage} came.", where="x.py", line=3) == [f"x.py:4: “{coinage}”"]
