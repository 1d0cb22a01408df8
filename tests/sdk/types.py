"""Makes the types of the SDKs in TypeScript and Go from sdk/openapi.json."""

import subprocess
from pathlib import Path

from tests.partners import node
from tests.sdk import document, go_types, tools
from tests.sdk.names import BY_HAND


def write() -> None:
    """Write both."""
    path = tools.TYPESCRIPT / "src" / "api.ts"
    path.write_text(typescript(path))
    (path.parent / "schemas.ts").write_text(schemas())
    go_types.PATH.write_text(go())


def typescript(path: Path) -> str:
    """Return the types as openapi-typescript makes them, by way of a file."""
    program = tools.npm_packages() / "openapi-typescript" / "bin" / "cli.js"
    # A field with a default may be left out of a request.
    tools.run(node.node(), program, document.PATH, "--default-non-nullable", "false", "-o", path, cwd=path.parent)
    return path.read_text()


def schemas() -> str:
    """Return the names under which TypeScript's types are exported."""
    named = sorted(name for name in document.load()["components"]["schemas"] if not BY_HAND.match(name))
    opening = ['import type { components } from "./api.js";', "", 'type Schemas = components["schemas"];', ""]
    return "\n".join([*opening, *(f'export type {name} = Schemas["{name}"];' for name in named), ""])


def go() -> str:
    """Return the types, formatted as Go code is."""
    gofmt = Path(tools.go()).resolve().parent / "gofmt"
    done = subprocess.run([gofmt], input=go_types.text(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
