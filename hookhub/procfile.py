"""The Procfile's processes: the one definition of how the web server and the worker are started."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parent.parent


def commands() -> dict[str, str]:
    """Return each process's shell command by name, with ``exec``, so that signals reach the program and not a shell."""
    found = parse_procfile((ROOT / "Procfile").read_text()).processes
    return {name: f"exec {command}" for name, command in found.items()}


def environment(**more: str) -> Mapping[str, str]:
    """Return the environment of the processes: this one's, with the directory of this Python first on the PATH."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
        "PATH": programs,
        **more,
    }
