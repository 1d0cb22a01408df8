"""Starts in a process what is switched on by the settings; nothing of it is imported otherwise."""

import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from deliveries import telemetry

if TYPE_CHECKING:
    from hookhub.telemetry.exporter import Exporter
    from hookhub.telemetry.metrics import Metrics
    from hookhub.telemetry.tracing import Tracing

log = logging.getLogger("hookhub.metrics")

# A process that ends waits so long for a collector.
FLUSH_SECONDS = 2

Role = Literal["web", "worker", "scheduler"]
# Method, path, status and seconds of an HTTP response.
Responded = Callable[[str, str, int, float], None]


class _OfProcess:
    """What this process has started."""

    pid = 0
    metrics: "Metrics | None" = None
    exporter: "Exporter | None" = None
    tracing: "Tracing | None" = None


_own = _OfProcess()


def start(role: Role, *, serves: bool = True) -> None:
    """Start what is switched on in this process, or begin anew after a fork.

    ``serves`` says that it may serve the metrics of this machine.
    """
    if _own.pid == os.getpid():
        return
    _own.pid = os.getpid()
    require_packages()
    telemetry.forget_all()
    if settings.HOOKHUB_METRICS_PORT:
        _start_metrics(role, serves=serves)
    if settings.HOOKHUB_TRACING:
        _start_tracing(role)
    if dsn():
        _start_errors(role)


def require_packages() -> None:
    """Raise ImproperlyConfigured if a package is missing for what is switched on, before processes need it."""
    if settings.HOOKHUB_METRICS_PORT:
        require("prometheus_client", setting="HOOKHUB_METRICS_PORT", extra="metrics")
    if settings.HOOKHUB_TRACING:
        require("opentelemetry.exporter.otlp.proto.http", setting="HOOKHUB_TRACING", extra="tracing")
    if dsn():
        require("sentry_sdk", setting="SENTRY_DSN", extra="sentry")


def dsn() -> str:
    """Return where errors of the service are reported; a project reports its own, also those of HookHub's code."""
    return str(settings.SENTRY_DSN) if apps.is_installed("hookhub.service") else ""


def stop() -> None:
    """Send the spans and the reports that wait, for some seconds at most; a process calls it before it ends."""
    if _own.pid != os.getpid():
        return
    if _own.tracing is not None:
        _own.tracing.close(seconds=FLUSH_SECONDS)
    if dsn():
        from hookhub.telemetry import errors

        errors.stop(seconds=FLUSH_SECONDS)


def _start_metrics(role: Role, *, serves: bool) -> None:
    from hookhub.telemetry.exporter import Exporter
    from hookhub.telemetry.metric_files import FolderUnusable, MetricFiles, default_folder
    from hookhub.telemetry.metrics import Metrics

    if _own.exporter is not None:
        _own.exporter.close_inherited()
    _own.metrics = _own.exporter = None
    folder = settings.HOOKHUB_METRICS_DIR
    try:
        files = MetricFiles(Path(folder) if folder else default_folder(settings.HOOKHUB_DEPLOYMENT_ID))
        _own.metrics = Metrics(files, role=role)
    except FolderUnusable as error:
        # Deliveries do not depend on it.
        log.warning("There are no metrics of this process: %s", error)
        return
    telemetry.observe(_own.metrics)
    if role == "worker":
        _own.metrics.slots.set(settings.HOOKHUB_SLOTS)
    if serves:
        _own.exporter = Exporter(files, host=settings.HOOKHUB_METRICS_HOST, port=settings.HOOKHUB_METRICS_PORT)
        _own.exporter.start()


def _start_tracing(role: Role) -> None:
    from hookhub.telemetry.tracing import Tracing

    if _own.tracing is not None:
        # Inherited by a fork, with nothing to send.
        _own.tracing.close(seconds=0)
    _own.tracing = Tracing(role=role)
    telemetry.observe(_own.tracing)
    telemetry.trace_with(_own.tracing)


def _start_errors(role: Role) -> None:
    from hookhub.telemetry import errors

    try:
        errors.start(dsn(), role=role)
    except ValueError as error:
        # The DSN itself holds a key.
        raise ImproperlyConfigured(f"SENTRY_DSN is invalid: {type(error).__name__}") from None


def responded(method: str, path: str, status: int, seconds: float) -> None:
    """Count an HTTP response of this process."""
    if _own.pid != os.getpid():
        # A server that forks its processes after it has loaded the application.
        start("web")
    if _own.metrics is not None:
        _own.metrics.responded(method, path, status, seconds=seconds)


def response_observer() -> Responded | None:
    """Return what is to be told of each HTTP response, or None if nothing is."""
    return responded if settings.HOOKHUB_METRICS_PORT else None


def require(module: str, *, setting: str, extra: str) -> None:
    """Raise ImproperlyConfigured, which names the package to install, unless a module is there."""
    try:
        is_there = find_spec(module) is not None
    except ModuleNotFoundError:
        # A package that would hold it is missing.
        is_there = False
    if not is_there:
        raise ImproperlyConfigured(f"{setting} needs a package that is not installed: pip install 'hookhub[{extra}]'")
