"""What only the source shows: literals and calls, read from every module regardless of its place."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from django.apps import apps

from deliveries.audit import Actor, Target
from deliveries.failpoints import FAILPOINTS, OF_REPLAYS, OF_VERIFICATIONS
from deliveries.models.webhook_schema import TopicKeys
from deliveries.rates import Policy

ROOT = Path(__file__).resolve().parent.parent.parent
# Not installed, and not started from an installation.
LEFT_OUT = {"tests", "bench", "chaos", "testbed", "build", "dist"}
HEADER = r"[A-Z][A-Za-z0-9]*(-[A-Z][A-Za-z0-9]*)+"


class Module(NamedTuple):
    """A module's nodes by type, and its string constants."""

    nodes: Mapping[type[ast.AST], Sequence[ast.AST]]
    constants: Mapping[str, str]


# It is there only with single sign-on or a second factor, so its model is not loaded here.
TABLE_OF_LOGINS = "hookhub_login_cache"


def names() -> Iterator[str]:
    """Yield names found only in code: headers, error codes, actions of the audit log, cookies, places."""
    yield from (f"header {name}" for name in headers())
    yield from (f"request header {name}" for name in matching(r"HTTP_[A-Z_]+"))
    yield from (f"rate limit {name}" for name in calls(Policy.__name__))
    yield from (f"error code {name}" for name in arguments("code") if re.fullmatch(r"\w+", name))
    yield from (f"audit action {name}" for name in arguments("action") if re.fullmatch(r"[\w*]+\.\w+", name))
    yield from (f"audit actor {name}" for name in calls(Actor.__name__))
    yield from (f"audit target {name}" for name in calls(Target.__name__))
    yield from (f"failpoint {name}" for name in (*FAILPOINTS, *OF_VERIFICATIONS, *OF_REPLAYS))
    tables = {model._meta.db_table for model in apps.get_models()}
    yield from (f"table {name}" for name in sorted(tables) if name.startswith("hookhub_"))
    named = set(matching(r"(hookhub_|__Host-)[a-z_]+")) - tables - {TopicKeys.function, TABLE_OF_LOGINS}
    yield from (f"cookie or session key {name}" for name in sorted(named))
    yield from (f"health check {name}" for name in matching(r"/[a-z]+z"))


@cache
def modules() -> dict[Path, Module]:
    """Return every module of HookHub, without tests, harnesses and migrations."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).parts
        if not (parts[0] in LEFT_OUT or "migrations" in parts or any(part.startswith(".") for part in parts)):
            tree = ast.parse(path.read_text())
            nodes: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
            for node in ast.walk(tree):
                nodes[type(node)].append(node)
            found[path] = Module(nodes, _constants(tree))
    return found


def every(kind: type[ast.AST]) -> Iterator[tuple[ast.AST, Mapping[str, str]]]:
    """Yield every node of a type, with the constants of its module."""
    for module in modules().values():
        for node in module.nodes[kind]:
            yield node, module.constants


@cache
def texts() -> frozenset[str]:
    """Return every string in the code, including parts of f-strings and ASCII bytes, but not docstrings."""
    found = set()
    prose = {id(node.value) for node, _ in every(ast.Expr)}  # type: ignore[attr-defined]
    for node, _ in every(ast.Constant):
        match node:
            case ast.Constant(value=str() as text) if id(node) not in prose:
                found.add(text)
            case ast.Constant(value=bytes() as content) if content.isascii():
                found.add(content.decode())
    return frozenset(found)


def matching(pattern: str) -> list[str]:
    """Return the strings that match a pattern completely."""
    return sorted(text for text in texts() if re.fullmatch(pattern, text))


def within(pattern: str) -> list[str]:
    """Return what a pattern's group finds within strings."""
    return sorted({found for text in texts() for found in re.findall(pattern, text)})


def arguments(name: str) -> list[str]:
    """Return the literals used anywhere as a value of this name: of a parameter, a field, a variable, or a JSON key.

    A part computed at run time becomes an asterisk.
    """
    places = _positions(name)
    found: set[str] = set()
    for kind in (ast.Call, ast.Dict, ast.Assign):
        for node, constants in every(kind):
            for value in _given(node, name, places):
                found |= _literals(value, constants)
    return sorted(found)


def calls(function: str) -> list[str]:
    """Return the literals passed as the first argument in all calls of functions with this name."""
    found: set[str] = set()
    for node, _ in every(ast.Call):
        if isinstance(node, ast.Call) and node.args and _name_of(node.func) == function:
            found |= _literals(node.args[0], {})
    return sorted(found)


def headers() -> list[str]:
    """Return the headers that are read or written by name: those that look like one, and others in the same dict."""
    found = {*matching(HEADER), *matching(r"x-[a-z0-9-]+|webhook-(id|timestamp|signature)")}
    for node, _ in every(ast.Dict):
        keys = node.keys if isinstance(node, ast.Dict) else []
        beside = {key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
        if any(re.fullmatch(HEADER, name) for name in beside):
            found |= beside
    for node, _ in every(ast.Subscript):
        match node:
            case ast.Subscript(value=ast.Attribute(attr="headers"), slice=ast.Constant(value=str() as name)):
                found.add(name)
    return sorted(found)


def redis_keys() -> list[str]:
    """Return the keys in Redis that are composed at run time, with asterisks for variable parts."""
    found = {text for node, _ in every(ast.JoinedStr) for text in _literals(node, {})}
    return sorted(text for text in found if re.fullmatch(r"\*:[a-z]+(:([a-z]+|\*))*", text))


def channels() -> list[str]:
    """Return the channels on which PostgreSQL notifies of changes, as named in triggers and listeners."""
    files = [path.read_text() for path in (*modules(), *ROOT.glob("*/migrations/*.py"))]
    return sorted({name for text in files for name in re.findall(r"(?:pg_notify\('|CHANNEL = \")(\w+)", text)})


def locks() -> list[int]:
    """Return the keys of advisory locks, which versions running at the same time must share."""
    found = []
    for node, _ in every(ast.Assign):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int() as key)) if "LOCK" in name:
                found.append(key)
    return sorted(found)


def session_settings() -> list[str]:
    """Return the settings of a PostgreSQL session that triggers read."""
    return within(r"'(hookhub\.[a-z_]+)'")


def exits(path: Path) -> list[str]:
    """Return the statuses with which a module exits."""
    nodes = modules()[path].nodes
    found = set()
    for node in (*nodes[ast.Call], *nodes[ast.keyword]):
        match node:
            case ast.Call(func=ast.Attribute(attr="exit") | ast.Name(id="SystemExit"), args=[ast.Constant(value=code)]):
                found.add(str(code))
            case ast.keyword(arg="returncode", value=ast.Constant(value=code)):
                found.add(str(code))
    return sorted(found)


def _positions(name: str) -> dict[str, set[int]]:
    """Return the positions at which callables take a parameter; classes by their fields or ``__init__``."""
    found: dict[str, set[int]] = defaultdict(set)
    for kind in (ast.ClassDef, ast.FunctionDef):
        for node, _ in every(kind):
            for parameters in _signatures(node):
                if name in parameters:
                    found[node.name].add(parameters.index(name))  # type: ignore[attr-defined]
    return found


def _signatures(node: ast.AST) -> Iterator[list[str]]:
    """Yield the names of the positional parameters of a function or a class."""
    if isinstance(node, ast.FunctionDef):
        named = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
        yield named[1:] if named[:1] in (["self"], ["cls"]) else named
    elif isinstance(node, ast.ClassDef):
        fields = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
        yield [target.id for target in fields if isinstance(target, ast.Name)]
        for item in node.body:
            if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                yield from _signatures(item)


def _given(node: ast.AST, name: str, places: Mapping[str, set[int]]) -> Iterator[ast.expr]:
    """Yield the values that a node binds to a name, as a call, an assignment or a dict."""
    if isinstance(node, ast.Call):
        yield from (keyword.value for keyword in node.keywords if keyword.arg == name)
        yield from (node.args[place] for place in places.get(_name_of(node.func), ()) if place < len(node.args))
    elif isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        yield from (value for key, value in pairs if isinstance(key, ast.Constant) and key.value == name)
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _assigned(target, node.value, name)


def _assigned(target: ast.expr, value: ast.expr, name: str) -> Iterator[ast.expr]:
    if isinstance(target, ast.Name) and target.id == name:
        yield value
    elif isinstance(target, ast.Name) and target.id == f"{name.upper()}S" and isinstance(value, ast.Dict):
        yield from value.values
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for each, part in zip(target.elts, value.elts, strict=True):
            yield from _assigned(each, part, name)


def _literals(node: ast.AST, constants: Mapping[str, str]) -> set[str]:
    match node:
        case ast.Constant(value=str() as text):
            return {text}
        case ast.JoinedStr(values=parts):
            return {"".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in parts)}
        case ast.Name(id=name) if name in constants:
            return {constants[name]}
        case ast.IfExp(body=body, orelse=orelse):
            return _literals(body, constants) | _literals(orelse, constants)
        case ast.BoolOp(values=values):
            return {text for value in values for text in _literals(value, constants)}
    return set()


def _constants(tree: ast.Module) -> dict[str, str]:
    found = {}
    for statement in tree.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str() as text)):
                found[name] = text
    return found


def _name_of(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
