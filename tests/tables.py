"""A parametrized test without fixtures as one test: processes of xdist run the whole table of cases in one go.

To collect, set up and report a test takes ten times as long as most of these cases, and each process of xdist collects
all tests. Without xdist each case is a test, so that one can be chosen.
"""

import inspect
import itertools
import reprlib
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

# What it is called, and the arguments.
Case = tuple[str, dict[str, Any]]


def table_of(module: pytest.Module, name: str, found: object) -> pytest.Function | None:
    """Return one test for all cases of a function, or None if each needs a test, or if it is no such function."""
    if not isinstance(found, FunctionType) or not module.istestfunction(found, name) or any(module.iter_markers()):
        return None
    marks: list[pytest.Mark] = getattr(found, "pytestmark", [])
    if not marks or not all(is_plain(mark) for mark in marks) or hasattr(found, "hypothesis"):
        return None
    cases = [together(rows) for rows in itertools.product(*map(rows_of, marks))]
    if any(inspect.signature(found).parameters.keys() != arguments.keys() for _, arguments in cases):
        return None
    test = pytest.Function.from_parent(module, name=name, callobj=running(found, cases))
    # A fixture of the module that each of its tests uses may undo what a case does.
    return None if any(hasattr(module.obj, fixture) for fixture in test.fixturenames) else test


def is_plain(mark: pytest.Mark) -> bool:
    """Return whether a mark gives parameters, and none of them a mark."""
    if mark.name != "parametrize" or len(mark.args) != 2 or not mark.kwargs.keys() <= {"ids"}:
        return False
    return not any(isinstance(value, ParameterSet) and value.marks for value in mark.args[1])


def rows_of(mark: pytest.Mark) -> list[Case]:
    """Return the cases of one mark."""
    names, values = mark.args
    is_alone = isinstance(names, str) and "," not in names
    names = [name.strip() for name in names.split(",")] if isinstance(names, str) else names
    labels = mark.kwargs.get("ids")
    labels = list(labels) if labels is not None and not callable(labels) else itertools.repeat(None)
    found = []
    for value, label in zip(values, labels, strict=False):
        given = value.values if isinstance(value, ParameterSet) else (value,) if is_alone else value
        own = value.id if isinstance(value, ParameterSet) else label
        found.append((reprlib.repr(given) if own is None else str(own), dict(zip(names, given, strict=True))))
    return found


def together(rows: Sequence[Case]) -> Case:
    """Return the case of which each mark gives a part."""
    return " - ".join(label for label, _ in rows), {key: value for _, given in rows for key, value in given.items()}


def running(function: Callable[..., object], cases: Sequence[Case]) -> Callable[[], None]:
    """Return a function that runs another for all cases, and raises what those that failed have raised."""

    def run() -> None:
        failed = []
        for label, arguments in cases:
            try:
                function(**arguments)
            except (Exception, pytest.fail.Exception, pytest.skip.Exception) as error:  # noqa: BLE001 - all are raised
                error.add_note(f"the case: {label}")
                failed.append(error)
        if failed:
            raise BaseExceptionGroup(f"{len(failed)} of {len(cases)} cases failed", failed)

    # Where pytest says that the test is.
    run.place_as = function  # type: ignore[attr-defined]
    return run
