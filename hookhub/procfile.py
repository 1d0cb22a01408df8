"""The Procfile's processes: the one definition of how the web server and the worker are started."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

# Of the checkout; where the package is installed, the folder that it is installed in.
ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "hookhub" / "service" / "Procfile"
_MANAGE = ROOT / "manage.py"
# The program that runs management commands.
PROGRAM = (sys.executable, str(_MANAGE)) if _MANAGE.exists() else (sys.executable, "-m", "hookhub")


# Variables that the commands use.
OF_THE_COMMANDS = frozenset({"HOST", "PORT", "WEB_WORKERS", "WEB_IDLE_TIMEOUT"})


def commands() -> dict[str, str]:
    """Return each process's shell command by name, with ``exec``, so that signals reach the program and not a shell."""
    found = (line.partition(":") for line in FILE.read_text().splitlines())
    return {name: f"exec {command.strip()}" for name, _, command in found}


def environment(**more: str) -> Mapping[str, str]:
    """Return the environment of the processes: this one's, with the directory of this Python first on the PATH."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    # To the settings, a variable of white space is one that is not set.
    given = {name: value for name, value in os.environ.items() if name not in OF_THE_COMMANDS or value.strip()}
    return {
        **given,
        "DJANGO_SETTINGS_MODULE": "hookhub.service.settings",
        "PYTHONUNBUFFERED": "1",
        "PATH": programs,
        **more,
    }
