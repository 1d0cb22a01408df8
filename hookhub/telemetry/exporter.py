"""`GET /metrics` on a port of its own: one process of a machine serves the metrics of all of them."""

import errno
import logging
import os
import socket
import threading
from collections.abc import Iterable
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from hookhub.telemetry.gauges import Gauges
from hookhub.telemetry.metric_files import MetricFiles

log = logging.getLogger("hookhub.metrics")

# How often the other processes try to take the port, which becomes free when the process that has it ends.
TRY_AGAIN = timedelta(seconds=1)
# A client that sends nothing for so long is left, because the next one waits.
CLIENT_TIMEOUT = timedelta(seconds=5)


class OfFiles:
    """A collector of Prometheus' client: the counters, histograms and gauges of all processes."""

    def __init__(self, files: MetricFiles) -> None:
        self._files = files

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._files.collect()


class Exporter:
    """Serves the metrics, as soon as the port is free; its threads are daemons."""

    def __init__(self, files: MetricFiles, *, host: str, port: int) -> None:
        self._address = (host, port)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(OfFiles(files))
        self._gauges = Gauges()
        self._registry.register(self._gauges)
        self._server: HTTPServer | None = None
        self._is_told = False

    def start(self) -> None:
        """Serve in a thread."""
        threading.Thread(target=self._serve, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop serving, and free the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
        self._gauges.close()

    def close_inherited(self) -> None:
        """Close the socket in a process that was forked: otherwise it would keep the port when its parent has died."""
        if self._server is not None:
            self._server.socket.close()

    def _serve(self) -> None:
        pause = threading.Event()
        while (server := self._listen()) is None:
            pause.wait(TRY_AGAIN.total_seconds())
        self._announce(server)
        server.serve_forever()

    @staticmethod
    def _announce(server: HTTPServer) -> None:
        host, port = str(server.server_address[0]), server.server_address[1]
        log.info("Metrics are served at http://%s:%d/metrics", f"[{host}]" if ":" in host else host, port)

    def _listen(self) -> HTTPServer | None:
        """Return a server on the port; None if another process has it, or if it cannot be had."""
        kind = type(
            "Server",
            (HTTPServer,),
            {
                "address_family": socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET,
                "registry": self._registry,
            },
        )
        try:
            self._server = kind(self._address, Handler)
        except OSError as error:
            self._tell(error)
        return self._server

    def _tell(self, error: OSError) -> None:
        if self._is_told:
            return
        self._is_told = True
        if error.errno == errno.EADDRINUSE:
            log.info("Process %d does not serve the metrics, because another does: %s", os.getpid(), error)
        else:
            text = "No metrics can be served at %s, port %d: %s. Choose others by HOOKHUB_METRICS_HOST and _PORT."
            log.warning(text, *self._address, error)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    timeout = CLIENT_TIMEOUT.total_seconds()
    server_version = "HookHub"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer with the metrics."""
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, "text/plain; charset=utf-8", b"The metrics are at /metrics.\n")
            return
        encode, content_type = choose_encoder(self.headers.get("Accept", ""))
        try:
            content = encode(self.server.registry)  # type: ignore[attr-defined]
        except Exception:
            log.exception("Could not collect the metrics")
            self._answer(500, "text/plain; charset=utf-8", b"The metrics cannot be read; the log says why.\n")
            return
        self._answer(200, content_type, content)

    def do_HEAD(self) -> None:
        """Answer as to GET, without the content."""
        self.do_GET()

    def _answer(self, status: int, content_type: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Do not log each scrape."""
