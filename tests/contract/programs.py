"""What users type: management commands, make targets, settings, harnesses, the git hook, and importable modules."""

import argparse
import ast
import importlib
import inspect
import io
import json
import os
import re
import runpy
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from django.core.management import get_commands, load_command_class

from chaos.checkers.report import judge
from chaos.history import History
from deliveries.maintenance.invariants import CHECKS, CheckResult, Totals
from deliveries.management.commands import check_ledger
from hookhub import client, receiving, stream_client
from hookhub.git import hook
from hookhub.git import settings as hook_settings
from hookhub.git.spool import Line, Spool
from hookhub.publishing.redis_stream.dead_letters import Counts
from hookhub.service.environment import usual
from tests.contract import source
from tests.contract.source import ROOT

OURS = ("deliveries", "hookhub", "hookhub.service")
# The options that Django adds to every command.
FROM_DJANGO = {
    "help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color", "skip_checks",
}  # fmt: skip
SETTINGS = ROOT / "hookhub" / "service" / "settings.py"
SHELLS = ("Procfile", "docker-compose.yml", "deploy/valkey.sh", "deploy/nginx.conf", "Dockerfile")


class _Asked(dict[str, str]):
    """An environment that records which variables are read."""

    def __init__(self, **variables: str) -> None:
        super().__init__(variables)
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return super().get(name, default)


class _Parsing(Exception):
    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


def commands() -> Iterator[str]:
    """Yield every management command of HookHub, with its arguments and its explicit exit statuses."""
    for name, app in sorted(get_commands().items()):
        if app in OURS:
            parser = load_command_class(app, name).create_parser("manage.py", name)
            yield f"manage.py {name}"
            yield from _arguments(f"manage.py {name}", parser)
    for path in source.modules():
        if path.parent.name == "commands":
            yield from (f"manage.py {path.stem} exits with {status}" for status in source.exits(path))


def reports() -> Iterator[str]:
    """Yield the keys of the JSON that programs print, and the names of the checks."""
    result = CheckResult(CHECKS[0], count=0, is_at_least=False, sample=())
    report = check_ledger.as_json([result], Totals(0, 0, 0, {}), now=datetime.now(UTC))
    yield from (f"check_ledger --json {key}" for key in _keys(report))
    yield from (f"check_ledger check {check.name} {check.broken}" for check in CHECKS)
    yield from (f"stream --json {field.name}" for field in fields(Counts))
    none: Any = ()
    verdict = judge(History(none, none, {}, none, none, none), scenario="none", seed=0)
    yield from (f"python -m chaos {key}" for key in _keys(verdict.figures))


def harnesses() -> Iterator[str]:
    """Yield the programs that run as modules, with their arguments and the names that they accept."""
    for name in ("bench", "bench.report", "chaos"):
        yield from _arguments(f"python -m {name}", _parser_of(_main_of(name)))
    yield from _arguments("post-receive", _parser_of(hook.main))
    for name in _printed(_main_of("chaos"), "--list"):
        yield f"python -m chaos {name}"
    groups = vars(importlib.import_module("chaos.__main__"))["GROUPS"]
    yield from (f"python -m chaos {name}" for name in groups)


def targets() -> Iterator[str]:
    """Yield make's targets and variables, and the processes of the Procfile."""
    text = (ROOT / "Makefile").read_text()
    yield from sorted(f"make {name}" for name in re.findall(r"^([a-z-]+):.*## ", text, re.MULTILINE))
    yield from sorted(f"make {name}=" for name in re.findall(r"^([A-Z]+) \?=", text, re.MULTILINE))
    processes = (ROOT / "Procfile").read_text()
    yield from (f"process {name}" for name in re.findall(r"^(\w+):", processes, re.MULTILINE))


def settings() -> Iterator[str]:
    """Yield every environment variable, with its default and the setting's value when none is set."""
    with tempfile.TemporaryDirectory() as home:
        outside = {"PATH": os.environ.get("PATH", ""), "HOOKHUB_HOME": home}
        with patch.dict(os.environ, outside, clear=True):
            found = runpy.run_path(str(SETTINGS))
    read = _read_settings(found)
    yield from (f"{name} {meaning}" for name, meaning in sorted(read.items()))
    for file in SHELLS:
        text = (ROOT / file).read_text()
        for name, default in sorted(set(re.findall(r"(?<!\$)\$\{([A-Z_]+)(?::?[-?]([^}]*))?\}", text))):
            yield f"{file} {name} default={default}"
    elsewhere = set(source.matching(r"(HOOKHUB|DATABASE|REDIS|WEB)_[A-Z0-9_]+")) - read.keys()
    yield from (f"outside of the settings: {name}" for name in sorted(elsewhere))


def hook_files() -> Iterator[str]:
    """Yield the git hook's settings, and the files it writes into a repository; HEX and N stand for variable parts."""
    known = vars(hook_settings)["_TEXT"] | vars(hook_settings)["_SECONDS"] | {"private"}
    yield from (f"{hook_settings.FILE_NAME} {name}" for name in sorted(known))
    yield from (f"dialect {name}" for name in hook_settings.DIALECTS)
    asked = _Asked(HOOKHUB_URL="https://hooks.example", HOOKHUB_API_KEY="hh_1")
    hook_settings.read_settings(ROOT, environment=asked)
    push = vars(hook)["_push"]((), asked, git_dir=ROOT)
    yield from (f"environment {name}" for name in sorted(asked.names))
    with tempfile.TemporaryDirectory() as directory:
        spool = Spool(Path(directory))
        path = spool.append(push, at_ns=1)
        yield from (f"push {name}" for name in json.loads(path.read_bytes()))
        spool.write_refs(path, b"refs")
        found = _files(directory)
        spool.record_problem("none")
        spool.mark_published()
        spool.mark_published("refs/namespaces/a/")
        with spool.sender_lock():
            # Lines of the largest batch size, so that part of the push waits for the next batch.
            parts = spool.replace(path, (Line(0, place, "x" * (2 << 20)) for place in range(3)))
            progress = next(parts)
            found |= _files(directory)
            list(parts)
        yield from (f"progress {name}" for name in vars(progress))
        spool.reject(spool.batches()[0], reason="none")
        found |= _files(directory)
    yield from (f"file {name}" for name in sorted(found))


def python() -> Iterator[str]:
    """Yield what programs import: the clients and the verification for receivers, with every public signature."""
    for module in (client, stream_client, receiving):
        exported = getattr(module, "__all__", None)
        for name, value in sorted(vars(module).items()):
            is_own = getattr(value, "__module__", None) == module.__name__
            if name in exported if exported is not None else is_own and not name.startswith("_"):
                yield from _public(f"{module.__name__}.{name}", value)


def _keys(report: object, where: str = "") -> Iterator[str]:
    """Yield the path of each value in a JSON report."""
    if isinstance(report, Mapping):
        for name, value in report.items():
            yield f"{where}{name}"
            yield from _keys(value, f"{where}{name}.")
    elif isinstance(report, list) and report:
        yield from _keys(report[0], f"{where[:-1]}[].")


def _public(where: str, value: Any) -> Iterator[str]:
    if isinstance(value, type):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        yield f"{where}({bases}) {_signature(value)}"
        for name, member in sorted(vars(value).items()):
            if not name.startswith("_") or name in {"__enter__", "__exit__", "__iter__"}:
                inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
                if inspect.isfunction(inner):
                    yield f"{where}.{name}{_signature(inner)}" + (" property" if isinstance(member, property) else "")
                elif name not in getattr(value, "__annotations__", {}) and not inspect.ismemberdescriptor(inner):
                    yield f"{where}.{name}"
        named = {**getattr(value, "__annotations__", {}), **_attributes(value)}
        yield from (f"{where}.{name}: {kind}" for name, kind in named.items() if not name.startswith("_"))
    elif callable(value):
        yield f"{where}{_signature(value)}"
    elif isinstance(value, Mapping):
        yield f"{where} {' '.join(map(str, value))}"
    else:
        yield where


def _attributes(value: type) -> dict[str, str]:
    """Return the attributes that a class's ``__init__`` sets."""
    found = {}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(value)))):
        match node:
            case (
                ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)])
                | ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name))
            ):
                found[name] = "attribute"
    return found


def _signature(value: Callable[..., Any]) -> str:
    try:
        return re.sub(r"<function [\w.]*?(\w+) at 0x\w+>", r"\1", str(inspect.signature(value)))
    except ValueError:
        # An exception with the constructor of its base class.
        return "(...)"


def _arguments(called: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        if action.dest in FROM_DJANGO:
            continue
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield f"{called} {name}"
                yield from _arguments(f"{called} {name}", inner)
            continue
        words = [called, "|".join(action.option_strings) or action.dest.upper()]
        if type(action).__name__ != "_StoreAction":
            words.append(type(action).__name__.strip("_"))
        if action.type is not None:
            words.append(f"type={getattr(action.type, '__name__', 'other')}")
        words += [f"nargs={action.nargs}"] if action.nargs is not None else []
        words += [f"choices={'|'.join(map(str, action.choices))}"] if action.choices else []
        words += [f"default={_shown(action.default)}"] if action.default not in (None, argparse.SUPPRESS) else []
        words += ["required"] if action.required else []
        yield " ".join(words)


def _main_of(module: str) -> Callable[[], Any]:
    name = module if importlib.util.find_spec(module).submodule_search_locations is None else f"{module}.__main__"  # type: ignore[union-attr, attr-defined]
    main: Callable[[], Any] = importlib.import_module(name).main
    return main


def _parser_of(main: Callable[[], Any]) -> argparse.ArgumentParser:
    """Return the parser that a program uses for its arguments."""

    def stop(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        raise _Parsing(parser)

    with patch("sys.argv", ["program", "--help"]), patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            main()
        except _Parsing as found:
            return found.parser
    raise AssertionError(f"{main} reads no arguments")


def _printed(main: Callable[[], Any], *arguments: str) -> list[str]:
    """Return the first word of each line that a program prints."""
    out = io.StringIO()
    with patch("sys.argv", ["program", *arguments]), redirect_stdout(out):
        main()
    return [line.split()[0] for line in out.getvalue().splitlines()]


def _read_settings(module: Mapping[str, Any]) -> dict[str, str]:
    """Return the type, minimum and default of each environment variable that the settings read."""
    found = {}
    for node in ast.walk(ast.parse(SETTINGS.read_text())):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
            continue
        function, first = module.get(node.func.id), node.args[0]
        is_name = isinstance(first, ast.Constant) and re.fullmatch(r"[A-Z][A-Z0-9_]+", str(first.value))
        if is_name and inspect.isfunction(function):
            given = {str(each.arg): each.value for each in node.keywords}
            found[str(first.value)] = _meaning(inspect.signature(function), node.args, given, module)  # type: ignore[attr-defined]
    return found


def _meaning(
    signature: inspect.Signature, args: Sequence[ast.expr], given: Mapping[str, ast.expr], module: Mapping[str, Any]
) -> str:
    """Return what a call that reads an environment variable says about it."""
    bound = signature.bind(*args, **given).arguments
    if "default" not in signature.parameters:
        return "required"
    default = signature.parameters["default"].default
    if "default" in bound:
        default = eval(compile(ast.Expression(bound["default"]), str(SETTINGS), "eval"), dict(module))
    elif default is None:
        default = usual(ast.literal_eval(args[0]))
    least = f" least={ast.unparse(bound['least'])}" if "least" in bound else ""
    return f"{type(default).__name__}{least} default={_shown(default)}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"
    if isinstance(value, Path):
        return str(value.relative_to(ROOT) if value.is_absolute() else value)
    return repr(value) if isinstance(value, str) else str(value)


def _files(directory: str) -> set[str]:
    names = (str(path.relative_to(directory)) for path in Path(directory).rglob("*"))
    return {re.sub(r"\d+", "N", re.sub(r"[0-9a-f]{32}", "HEX", name)) for name in names}
