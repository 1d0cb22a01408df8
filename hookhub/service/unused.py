"""Packages that others load wherever they are installed, for what the service never asks of those others.

To load them takes a sixth of the time in which a web server starts, and memory.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

# What they load, by the module that does.
UNUSED = {
    "redis": ("opentelemetry.metrics", "opentelemetry.sdk.metrics"),
    "rest_framework.compat": ("markdown", "pygments", "requests", "yaml"),
    # drf-spectacular imports Django's test client, for requests that it makes up.
    "django.test.utils": ("jinja2",),
}


class Finder:
    """Finds the modules of ``UNUSED``, and lets none of them find what it would load."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how one of these modules is loaded, and None for all others."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname in UNUSED else None
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(spec.loader.name, spec.loader.path)
        return spec


class Loader(SourceFileLoader):
    """Loads a module as if what it does not need were not installed."""

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module."""
        with _hidden(UNUSED[module.__name__]):
            super().exec_module(module)


@contextmanager
def _hidden(names: Sequence[str]) -> Iterator[None]:
    hidden = [name for name in names if name not in sys.modules]
    # An import of one of them then fails.
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
