"""GitHub's clients in Go, Java and Rust, and GitHub's command line: how to build, install and run them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.partners.generators import TOOLS as GENERATORS
from tests.partners.generators import run

SOURCES = Path(__file__).parent / "github"
# Not tracked by Git; kept so that a second run finds what the first built.
TOOLS = GENERATORS.parent / "github"
GO = TOOLS / "go" / "hooks"
JAVA = TOOLS / "java"
RUST = TOOLS / "rust"
GH = TOOLS / "gh" / "bin" / "gh"

# How to run each program. Their sources, in subfolders of `github`, do the same steps as far as the clients support
# them.
PROGRAMS: dict[str, tuple[str | Path, ...]] = {
    "go-github": (GO,),
    "hub4j": ("java", "-cp", f"{JAVA / 'classes'}:{JAVA / 'lib'}/*", "Hooks"),
    "octocrab": (RUST / "debug" / "hooks",),
}
NEEDED = {"go": "Go 1.26", "javac": "a JDK, 17 or newer", "mvn": "Maven 3", "cargo": "Rust 1.85 or newer"}


def missing() -> list[str]:
    """Return the programs that are required on the machine but missing."""
    return [f"{program} ({what})" for program, what in NEEDED.items() if not shutil.which(program)]


def drive(client: str, *, url: str, key: str, receiver: str, deliver: Callable[[], None]) -> dict[str, Any]:
    """Run a client's program, calling ``deliver`` whenever it asks for it, and return everything it saw."""
    command = [*PROGRAMS[client], url, key, receiver]
    # Its standard error goes where pytest captures it.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            if line != "deliver\n":
                saw: dict[str, Any] = json.loads(line)
                assert process.wait(30) == 0
                return saw
            deliver()
            process.stdin.write("\n")
            process.stdin.flush()
    raise AssertionError(f"{client}'s program ended with {process.returncode}; its complaint is on standard error")


def install() -> None:
    """Build the programs and install the pinned gh, unless they are unchanged since the last build."""
    if absent := missing():
        raise AssertionError(f"not on this machine: {', '.join(absent)}")
    for folder in (GO.parent, JAVA, RUST):
        folder.mkdir(parents=True, exist_ok=True)
    run("go", "build", "-o", GO, ".", cwd=SOURCES / "go")
    libraries = ("dependency:copy-dependencies", f"-DoutputDirectory={JAVA / 'lib'}")
    run("mvn", "-q", "-B", "-f", SOURCES / "java" / "pom.xml", *libraries, cwd=JAVA)
    run(
        "javac",
        "-nowarn",
        "-cp",
        f"{JAVA / 'lib'}/*",
        "-d",
        JAVA / "classes",
        SOURCES / "java" / "Hooks.java",
        cwd=JAVA,
    )
    run("cargo", "build", "--quiet", "--locked", cwd=SOURCES / "rust", CARGO_TARGET_DIR=str(RUST), seconds=1800)
    pinned = ("--require-hashes", "-r", SOURCES / "requirements.txt", "--prefix", GH.parents[1])
    run(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pinned, cwd=TOOLS)


if __name__ == "__main__":
    try:
        install()
    except (AssertionError, subprocess.SubprocessError) as error:
        sys.exit(f"GitHub's clients could not be built: {error}")
