"""docs/adding-a-format.md works literally: after three changes the contract tests hold for another format."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from cryptography.fernet import Fernet

from hookhub.procfile import ROOT

COPIED = ("deliveries", "hookhub", "testbed", "tests", "manage.py", "pyproject.toml")
# Nothing here connects to these servers.
NOWHERE = {
    "DATABASE_URL": "postgresql://localhost:1/nowhere",
    "REDIS_URL": "redis://localhost:1/0",
    "HOOKHUB_SECRET_KEY": "k" * 50,
    "HOOKHUB_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
}


def run(place: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=place, env={**os.environ, **NOWHERE, "PYTHONPATH": str(place)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def copy_of_the_checkout(place: Path) -> Path:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("node_modules"))
        else:
            shutil.copy(source, place / name)
    return place


def test_what_the_page_shows_is_another_format_and_needs_nothing_else(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "adding-a-format.md").read_text()
    file, line = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [command] = re.findall(r"```\npython (.*?)\n```", page)
    importing, entry = line.splitlines()
    checkout = copy_of_the_checkout(tmp_path)

    (checkout / "deliveries" / "formats" / "gitea.py").write_text(file)
    registry = checkout / "deliveries" / "formats" / "__init__.py"
    text = registry.read_text()
    text = text.replace("from deliveries.formats.github", f"{importing}\nfrom deliveries.formats.github", 1)
    registry.write_text(text.replace("    )\n}", f"{entry}\n    )\n}}", 1))
    run(checkout, *command.split())

    assert (checkout / "tests" / "golden" / "gitea" / "push.http").read_text().startswith("Content-Type: ")
    # All tests of one format, and those of the registry.
    chosen = "gitea or every_golden_file or registry or default_exists"
    counted = run(checkout, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_formats.py", "-k", chosen)
    assert int(re.findall(r"(\d+) passed", counted)[0]) > 100
    assert "No changes detected" in run(checkout, "-W", "ignore", "manage.py", "makemigrations", "--check")
    run(checkout, "-m", "ruff", "check", "deliveries/formats")
    run(checkout, "-m", "ruff", "format", "--check", "deliveries/formats")
