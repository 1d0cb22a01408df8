"""Joins the modules of this package into the one file that runs without HookHub."""

import ast
from pathlib import Path

from hookhub import forwarding

# Each needs only those before it. They are not imported, because a web server would load what only they use.
MODULES = ("remote", "forwarder", "program")
FOLDER = Path(__file__).parent
# At the beginning of the file, where Python wants it.
FUTURE = "from __future__ import annotations"


def one_file() -> str:
    """Return the source of the program, which imports nothing of this package."""
    parts = [
        f'"""{forwarding.__doc__}"""',
        FUTURE,
        *(_without_own_imports((FOLDER / f"{name}.py").read_text()) for name in MODULES),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _without_own_imports(source: str) -> str:
    lines = source.splitlines()
    for node in ast.parse(source).body:
        is_own = isinstance(node, ast.ImportFrom) and str(node.module).startswith(("__future__", __package__))
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if is_own or is_docstring:
            lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "\n".join(lines)
