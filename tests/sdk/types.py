"""Makes the types of the SDKs in TypeScript and Go from sdk/openapi.json."""

import subprocess
from pathlib import Path

from tests.partners import node
from tests.sdk import document, go_types, tools


def write() -> None:
    """Write both."""
    path = tools.TYPESCRIPT / "src" / "api.ts"
    path.write_text(typescript(path))
    go_types.PATH.write_text(go())


def typescript(path: Path) -> str:
    """Return the types as openapi-typescript makes them, by way of a file."""
    program = tools.npm_packages() / "openapi-typescript" / "bin" / "cli.js"
    # A field with a default may be left out of a request.
    tools.run(node.node(), program, document.PATH, "--default-non-nullable", "false", "-o", path, cwd=path.parent)
    return path.read_text()


def go() -> str:
    """Return the types, formatted as Go code is."""
    gofmt = Path(tools.go()).resolve().parent / "gofmt"
    done = subprocess.run([gofmt], input=go_types.text(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
