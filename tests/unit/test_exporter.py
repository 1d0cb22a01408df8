"""What the log says of the address at which the metrics are served, or are not."""

import logging
import socket
import tempfile
from pathlib import Path

import pytest
from django.conf import settings

from hookhub.telemetry import metric_files, starting
from hookhub.telemetry.exporter import Exporter
from hookhub.telemetry.metric_files import MetricFiles
from testbed.processes import free_port


@pytest.fixture(autouse=True)
def _log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookhub.metrics")


def test_an_address_that_cannot_be_had_is_a_warning_that_names_the_settings_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exporter = Exporter(MetricFiles(tmp_path), host="192.0.2.1", port=9464)

    assert [exporter._listen(), exporter._listen()] == [None, None]
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "No metrics can be served at 192.0.2.1, port 9464: [Errno 99] Cannot assign requested address. "
        "Choose others by HOOKHUB_METRICS_HOST and _PORT."
    )


def test_a_port_that_another_process_has_is_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        exporter = Exporter(MetricFiles(tmp_path), host="127.0.0.1", port=taken.getsockname()[1])

        assert exporter._listen() is None

    assert [(record.levelname, "because another does" in record.message) for record in caplog.records] == [
        ("INFO", True)
    ]


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_the_url_of_the_metrics_is_one_to_copy(
    host: str, shown: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    exporter = Exporter(MetricFiles(tmp_path), host=host, port=port)
    server = exporter._listen()
    assert server is not None

    exporter._announce(server)

    server.server_close()
    assert caplog.messages == [f"Metrics are served at http://{shown}:{port}/metrics"]


def test_without_any_folder_to_write_to_there_are_no_metrics_but_a_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    monkeypatch.setattr(metric_files, "MEMORY", Path("/nowhere"))
    monkeypatch.setattr(settings, "HOOKHUB_METRICS_DIR", "")

    starting._start_metrics("web", serves=False)

    [message] = caplog.messages
    assert message.startswith("There are no metrics of this process: No usable temporary directory found; ")
    assert message.endswith("HOOKHUB_METRICS_DIR can name another")
