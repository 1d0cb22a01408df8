"""The generators and linters of OpenAPI documents that the tests use, and their installation."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.partners import node

GENERATED = Path(__file__).parent / "generated"
# Not tracked by Git; kept so that a second run finds what the first installed.
TOOLS = Path(__file__).parents[2] / ".hookhub" / "generators"
PYTHON = TOOLS / "python"
NPM = TOOLS / "npm"
GO = TOOLS / "go"
JAVA = TOOLS / "java"

OAPI_CODEGEN = "github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen@v2.8.2"
OPENAPI_GENERATOR = "org.openapitools:openapi-generator-cli:7.21.0"
OPENAPI_GENERATOR_JAR = JAVA / "openapi-generator-cli-7.21.0.jar"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
NEEDED = {"go": "Go 1.26", "java": "a JDK, 11 or newer", "javac": "a JDK, 11 or newer", "mvn": "Maven 3"}


def missing() -> list[str]:
    """Return the programs that are required on the machine but missing."""
    return [f"{program} ({what})" for program, what in NEEDED.items() if not shutil.which(program)]


def run(*command: str | Path, cwd: Path, seconds: float = 600, complaints: bool = False, **environment: str) -> str:
    """Run a program and return its output, with standard error if ``complaints``; fail with all of its output."""
    done = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in environment.items()), *command],
        cwd=cwd, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + (done.stderr if complaints else "")


def install() -> None:
    """Install the pinned versions; reinstall only what has changed pins."""
    if absent := missing():
        raise AssertionError(f"not on this machine: {', '.join(absent)}")
    for folder in (PYTHON, NPM, GO, JAVA):
        folder.mkdir(parents=True, exist_ok=True)
    if not (PYTHON / "bin" / "python").exists():
        run(sys.executable, "-m", "venv", "--without-pip", PYTHON, cwd=TOOLS)
    pip = (sys.executable, "-m", "pip", "--python", PYTHON / "bin" / "python", "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "-r", GENERATED / "requirements.txt", cwd=TOOLS)
    lock = (GENERATED / "package-lock.json").read_bytes()
    if not (NPM / "package-lock.json").exists() or (NPM / "package-lock.json").read_bytes() != lock:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(GENERATED / name, NPM / name)
        node.install(NPM)
    run("go", "install", OAPI_CODEGEN, cwd=GO, GOBIN=str(GO))
    if not OPENAPI_GENERATOR_JAR.exists():
        run("mvn", "-q", "-B", COPY, f"-Dartifact={OPENAPI_GENERATOR}", f"-DoutputDirectory={JAVA}", cwd=JAVA)


if __name__ == "__main__":
    try:
        install()
    except (AssertionError, subprocess.CalledProcessError) as error:
        sys.exit(f"The generators could not be installed: {error}")
