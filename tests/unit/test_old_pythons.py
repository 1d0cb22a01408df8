"""Code that runs at receivers and publishers uses only the syntax and the standard library of Python 3.9."""

import ast
import sys
from pathlib import Path

import pytest

from hookhub.procfile import ROOT

HOOKHUB = ROOT / "hookhub"
SDK = ROOT / "sdk" / "python" / "src" / "hookhub_client"
SOURCES = [*sorted((HOOKHUB / "git").glob("*.py")), HOOKHUB / "stream_client.py", *sorted(SDK.rglob("*.py"))]
NEEDED = {
    "sdk/python/src/hookhub_client/aio/transport.py": {"httpx"},
    "sdk/python/src/hookhub_client/client/deadline.py": {"requests", "urllib3"},
    "sdk/python/src/hookhub_client/client/transport.py": {"requests", "urllib3"},
    "hookhub/stream_client.py": {"redis"},
}
# Names added after 3.9 to modules that this code might use; ruff's target version does not check these.
YOUNGER = {
    "datetime": {"UTC"},
    "typing": {"Self", "TypeAlias", "ParamSpec", "assert_never", "override", "Never", "LiteralString", "NotRequired"},
    "enum": {"StrEnum", "verify"},
    "itertools": {"pairwise", "batched"},
    "dataclasses": {"KW_ONLY"},
    "contextlib": {"aclosing", "chdir"},
    "types": {"NoneType", "UnionType", "EllipsisType"},
}
YOUNGER_MODULES = {"tomllib"}
YOUNGER_ARGUMENTS = {"slots", "kw_only"}


def at_runtime(tree: ast.AST) -> list[ast.AST]:
    """Return every node except those that only type checkers see."""
    found: list[ast.AST] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        found += [node, *at_runtime(node)]
    return found


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_it_is_written_for_python_3_9(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    nodes = at_runtime(tree)
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
    modules = {node.module or "" for node in imports if not node.level}
    modules |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names = [(node.module, alias.name) for node in imports for alias in node.names]
    calls = [node for node in nodes if isinstance(node, ast.Call)]

    foreign = {name.split(".")[0] for name in modules} - sys.stdlib_module_names - {"hookhub", "hookhub_client"}
    assert foreign == NEEDED.get(str(source.relative_to(ROOT)), set())
    assert not modules & YOUNGER_MODULES
    assert [pair for pair in names if pair[1] in YOUNGER.get(pair[0] or "", ())] == []
    assert [word.arg for call in calls for word in call.keywords if word.arg in YOUNGER_ARGUMENTS] == []
    # `match` is rejected by the parser above; `X | Y` works only in annotations that are not evaluated.
    assert any(alias == ("__future__", "annotations") for alias in names) or not has_unions(tree)
    assert [union.lineno for union in unions_at_runtime(tree)] == []
    # 3.9 and 3.10 do not parse "Z", or fractions with other than three or six digits.
    parsed = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "fromisoformat"]
    assert all(is_rewritten(call.args[0]) for call in parsed)


@pytest.mark.parametrize("source", sorted((HOOKHUB / "git").glob("*.py")), ids=lambda path: path.name)
def test_the_hook_needs_nothing_of_hookhub_but_its_own_package(source: Path) -> None:
    imports = [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, ast.ImportFrom)]
    own = {node.module or "" for node in imports if (node.module or "").startswith("hookhub")}

    assert {name for name in own if not f"{name}.".startswith("hookhub.git.")} == set()


def is_rewritten(text: ast.expr) -> bool:
    """Return whether a time is put together, or has its "Z" replaced, before it is parsed."""
    is_replaced = isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute) and text.func.attr == "replace"
    return is_replaced or isinstance(text, ast.JoinedStr)


def has_unions(tree: ast.AST) -> bool:
    return any(isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr) for node in ast.walk(tree))


def unions_at_runtime(tree: ast.Module) -> list[ast.BinOp]:
    """Return unions of types outside annotations: in aliases, and in isinstance() calls."""
    values = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    values += [
        node.args[1]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
    ]
    return [
        node
        for value in values
        for node in ast.walk(value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)
    ]
