"""The golden files, one for each kind of interface."""

from collections.abc import Callable, Iterable, Mapping

from tests.contract import engine, http, programs, source
from tests.contract.source import ROOT

GOLDEN = ROOT / "tests" / "contract" / "golden"

PAGES: Mapping[str, Callable[[], Iterable[str]]] = {
    "addresses": http.addresses,
    "admin": engine.admin_pages,
    "commands": programs.commands,
    "event-types": engine.event_types,
    "formats": engine.formats,
    "git-hook": programs.hook_files,
    "harnesses": programs.harnesses,
    "logs": engine.logs,
    "messages": engine.messages,
    "names": source.names,
    "openapi": http.operations,
    "python": programs.python,
    "reports": programs.reports,
    "settings": programs.settings,
    "targets": programs.targets,
    "values": engine.choices,
}


def text_of(page: str) -> str:
    """Return the current text of a page."""
    return "".join(f"{line}\n" for line in PAGES[page]())


def write() -> list[str]:
    """Write the golden files, and return the names of those that changed."""
    changed = []
    for page in PAGES:
        text, path = text_of(page), GOLDEN / f"{page}.txt"
        if not path.exists() or path.read_text() != text:
            changed.append(path.name)
        path.write_text(text)
    for path in GOLDEN.iterdir():
        if path.stem not in PAGES:
            path.unlink()
            changed.append(path.name)
    return changed
