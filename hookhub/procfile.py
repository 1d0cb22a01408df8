"""The Procfile's processes: the one place that says how the web server and the worker are started."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from honcho.environ import parse_procfile

ROOT = Path(__file__).resolve().parent.parent


def commands() -> dict[str, str]:
    """Give the shell command of each process by name; in each the shell gives way to the program, for signals' sake."""
    found = parse_procfile((ROOT / "Procfile").read_text()).processes
    return {name: f"exec {command}" for name, command in found.items()}


def environment(**more: str) -> Mapping[str, str]:
    """Give the environment the processes need: this one's, and the programs beside this very Python on the path."""
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "PYTHONUNBUFFERED": "1",
        "PATH": programs,
        **more,
    }
