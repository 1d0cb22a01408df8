"""A pytest plugin: one process collects all tests before a run, and those of xdist import only modules that they run.

Each process of xdist needs the list of all tests, and by itself imports all test modules for it, which takes longer
than most of them run. With ``--collect-only`` this plugin writes the list into a file; pytest also compiles the modules
then, and not in each process at once. In a process of xdist it reads the list, and collects a module when the first of
its tests runs. If a file has changed since the list was written, each process collects all tests.
"""

import hashlib
import itertools
import os
import pickle
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
from _pytest.runner import collect_one_node
from hypothesis.internal.conjecture import providers

from hookhub.embedded import servers

ROOT = Path(__file__).resolve().parents[1]
# Neither sources nor read by tests while they are collected.
GENERATED = {"__pycache__", "build", "dist", "node_modules", "static"}


@dataclass(frozen=True)
class Expected:
    """A test whose module is not imported yet."""

    nodeid: str
    path: Path
    is_acceptance: bool

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        """Return a mark as a test does: the process needs a database, and the order depends on the other one."""
        known = {"django_db": pytest.mark.django_db.mark}
        if self.is_acceptance:
            known["acceptance"] = pytest.mark.acceptance.mark
        return known.get(name)


@dataclass(frozen=True)
class Collected:
    """The tests to run, and the ids of all tests of each module, with those that are not selected.

    They are those of a state of the files and of a selection by markers and keywords.
    """

    files: str
    selection: tuple[str, str]
    tests: list[Expected]
    ids: dict[Path, list[str]]
    # The values in the code of all modules, by type. Hypothesis tries them, and by itself knows only imported modules.
    constants: dict[str, list[Any]]


class ListedTests(list[pytest.Item]):
    """The tests of a session; one is collected with its module when it is first taken by its index."""

    def __init__(self, session: pytest.Session, collected: Collected, roots: Sequence[pytest.Collector]) -> None:
        super().__init__(cast("Iterable[pytest.Item]", in_order(collected.tests)))
        self._session = session
        self._ids = collected.ids
        self._roots = list(roots)
        self._children: dict[Path, list[pytest.Collector]] = {}
        self._items: dict[str, pytest.Item] = {}
        # At the end of the collection, pytest forgets fixtures whose folder was not collected.
        for folder in roots:
            self._inside(folder)

    def __getitem__(self, index: Any) -> Any:
        expected = cast("Expected", super().__getitem__(index))
        if expected.nodeid not in self._items:
            found = {item.nodeid: item for item in self._session.genitems(self._module(expected.path))}
            if differing := found.keys() ^ set(self._ids[expected.path]):
                where = f"{expected.path} has other tests than listed in {list_of_tests()}"
                raise RuntimeError(f"{where}; delete it: {sorted(differing)[:5]}")
            self._items.update(found)
        return self._items[expected.nodeid]

    def _module(self, path: Path) -> pytest.Collector:
        """Return what collects a file, by way of all folders above it, whose fixtures its tests may use."""
        among = list(self._roots)
        while True:
            (node,) = (each for each in among if path == each.path or each.path in path.parents)
            if node.path == path:
                return node
            among = self._inside(node)

    def _inside(self, folder: pytest.Collector) -> list[pytest.Collector]:
        if folder.path not in self._children:
            report = collect_one_node(folder)
            if not report.passed:
                raise pytest.Collector.CollectError(report.longrepr)
            self._children[folder.path] = cast("list[pytest.Collector]", report.result)
        return self._children[folder.path]


class Writer:
    """Writes the list of all tests."""

    def __init__(self) -> None:
        self._ids: dict[Path, list[str]] = defaultdict(list)
        self._failed = False

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        self._ids[item.path].append(item.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._failed = self._failed or report.failed

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        list_of_tests().unlink(missing_ok=True)
        if self._failed or not session.items:
            return
        tests = [
            Expected(item.nodeid, item.path, item.get_closest_marker("acceptance") is not None)
            for item in session.items
        ]
        known = {of_type: list(values) for of_type, values in vars(providers._get_local_constants()).items()}
        collected = Collected(state_of_files(), selection(session.config), tests, dict(self._ids), known)
        unfinished = list_of_tests().with_suffix(".new")
        unfinished.write_bytes(pickle.dumps(collected))
        unfinished.replace(list_of_tests())


class Reader:
    """Gives a process of xdist the tests of the list."""

    def __init__(self, collected: Collected) -> None:
        self._collected = collected

    def pytest_collection(self, session: pytest.Session) -> bool:
        """Collect the outermost folders only."""
        session.perform_collect(genitems=False)
        session.testscollected = len(session.items)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Collector]) -> None:
        session.items = ListedTests(session, self._collected, items)
        known = self._collected.constants
        # Only few processes run a test that uses them.
        providers._get_local_constants = cache(lambda: constants(known))


def constants(known: dict[str, list[Any]]) -> providers.Constants:
    """Return values in the form in which Hypothesis keeps them."""
    return providers.Constants(
        integers=providers.SortedSet(known["integers"]),
        floats=providers.SortedSet(known["floats"], key=providers.float_to_int),
        bytes=providers.SortedSet(known["bytes"]),
        strings=providers.SortedSet(known["strings"]),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Write the list if pytest only collects, or read it in a process of xdist; do neither if files were chosen."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return
    if config.option.collectonly:
        config.pluginmanager.register(Writer())
    elif "PYTEST_XDIST_WORKER" in os.environ and list_of_tests().exists():
        collected = pickle.loads(list_of_tests().read_bytes())
        if (collected.files, collected.selection) == (state_of_files(), selection(config)):
            config.pluginmanager.register(Reader(collected))


def selection(config: pytest.Config) -> tuple[str, str]:
    """Return by which markers and keywords tests are selected."""
    return config.option.markexpr, config.option.keyword


def in_order(tests: Iterable[Any]) -> list[Any]:
    """Return tests in an order in which each process of xdist starts with acceptance tests, and ends with the others.

    Acceptance tests mostly wait, and some take a minute: as many as possible run at the same time, and those that
    compute keep the machine busy until the last one. xdist gives each process a contiguous part of the list.
    """
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    waiting: list[Any] = []
    computing: list[Any] = []
    for test in tests:
        (waiting if test.get_closest_marker("acceptance") else computing).append(test)
    modules = [list(group) for _, group in itertools.groupby(waiting, key=lambda test: test.path)]
    share = (len(waiting) + len(computing)) // processes
    ordered: list[Any] = []
    for process in range(processes):
        first = [test for module in modules[process::processes] for test in module]
        fill = max(share - len(first), 0)
        ordered += [*first, *computing[:fill]]
        del computing[:fill]
    return [*ordered, *computing]


def list_of_tests() -> Path:
    """Return the file with the list."""
    return servers.home() / "collected"


def state_of_files() -> str:
    """Return a digest that changes with each change of a file of this checkout, from any of which tests may be made."""
    digest = hashlib.sha256(sys.version.encode())
    for path, changed_ns, size in sorted(_files(str(ROOT))):
        digest.update(f"{path} {changed_ns} {size}\n".encode())
    return digest.hexdigest()


def _files(folder: str) -> Iterator[tuple[str, int, int]]:
    """Yield path, time of the last change and size of all files in a folder that are not generated."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name in GENERATED:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path)
            else:
                status = entry.stat(follow_symlinks=False)
                yield entry.path, status.st_mtime_ns, status.st_size
