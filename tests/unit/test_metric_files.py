"""The folder of metrics: totals never fall, gauges end with their process, and no death counts anything twice."""

import errno
import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from prometheus_client import values

from deliveries import telemetry
from hookhub.telemetry import metric_files
from hookhub.telemetry.metric_files import FolderUnusable, MetricFiles
from hookhub.telemetry.metrics import IN_FLIGHT_EVERY, Metrics


@pytest.fixture(autouse=True)
def library() -> Iterator[None]:
    """Leave the library as it was."""
    kept = values.ValueClass, os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    yield
    values.ValueClass = kept[0]
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    telemetry.forget_all()


def in_a_process(folder: Path, body: Callable[[Metrics], None], *, stays: bool = False) -> int:
    """Run ``body`` in a forked process; return its id once it has ended, or done it if it ``stays``."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            body(Metrics(MetricFiles(folder), role="worker"))
            os.write(writer, b"!")
            while stays:
                signal.pause()
        finally:
            os._exit(0)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    if not stays:
        os.waitpid(pid, 0)
    return pid


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def found(folder: Path, name: str) -> float:
    """Return the sum of a sample over its labels, as another process reads it."""
    samples = [sample for metric in MetricFiles(folder).collect() for sample in metric.samples if sample.name == name]
    return sum(sample.value for sample in samples)


def accept_five(metrics: Metrics) -> None:
    metrics.accepted(5)
    metrics.slots.set(256)
    metrics.in_flight(7)


def test_the_totals_of_all_processes_are_added_up_and_those_of_dead_ones_stay(tmp_path: Path) -> None:
    living = in_a_process(tmp_path, accept_five, stays=True)
    for _ in range(3):
        in_a_process(tmp_path, accept_five)

    assert found(tmp_path, "hookhub_events_accepted_total") == 20
    end(living)
    assert found(tmp_path, "hookhub_events_accepted_total") == 20
    assert found(tmp_path, "hookhub_events_accepted_total") == 20


def test_gauges_count_the_living_only(tmp_path: Path) -> None:
    living = [in_a_process(tmp_path, accept_five, stays=True) for _ in range(2)]
    in_a_process(tmp_path, accept_five)

    assert found(tmp_path, "hookhub_slots") == 512
    assert found(tmp_path, "hookhub_requests_in_flight") == 14
    assert found(tmp_path, "hookhub_processes") == 2
    for pid in living:
        end(pid)
    assert found(tmp_path, "hookhub_slots") == 0


@pytest.mark.parametrize(
    ("after", "next_number", "written"),
    [(timedelta(0), 4, 3), (IN_FLIGHT_EVERY, 4, 4), (timedelta(0), 0, 0)],
    ids=["too soon", "later", "none any more"],
)
def test_requests_in_flight_are_written_now_and_then_and_their_end_at_once(
    tmp_path: Path, after: timedelta, next_number: int, written: int
) -> None:
    def send(metrics: Metrics) -> None:
        with freeze_time() as clock:
            metrics.in_flight(3)
            clock.tick(after)
            metrics.in_flight(next_number)

    living = in_a_process(tmp_path, send, stays=True)

    assert found(tmp_path, "hookhub_requests_in_flight") == written
    end(living)


def test_the_files_of_dead_processes_go(tmp_path: Path) -> None:
    for _ in range(5):
        in_a_process(tmp_path, accept_five)

    found(tmp_path, "hookhub_slots")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_archive.db", "histogram_archive.db", "lock"]


def test_without_room_to_add_up_the_dead_they_are_read_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        in_a_process(tmp_path, accept_five)
    allocate = os.posix_fallocate

    def none_left(descriptor: int, start: int, length: int) -> None:
        # In a file system that is full, a write to a mapped file without room ends the process.
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".new":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, start, length)

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", none_left)
        counted = [found(tmp_path, "hookhub_events_accepted_total") for _ in range(2)]
        left = sorted(path.name.partition("_")[0] for path in tmp_path.iterdir() if path.suffix in {".db", ".new"})
        archives = list(tmp_path.glob("*archive*"))
        gauges = found(tmp_path, "hookhub_slots")

    assert (counted, gauges) == ([10, 10], 0)
    assert (left, archives) == (["counter", "counter", "histogram", "histogram"], [])
    assert found(tmp_path, "hookhub_events_accepted_total") == 10
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counter_archive.db", "histogram_archive.db", "lock"]


def test_a_process_id_that_is_used_again_is_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 4711)
    in_a_process(tmp_path, accept_five)
    living = in_a_process(tmp_path, lambda metrics: metrics.accepted(1), stays=True)

    assert found(tmp_path, "hookhub_events_accepted_total") == 6
    assert found(tmp_path, "hookhub_slots") == 0
    end(living)
    assert found(tmp_path, "hookhub_events_accepted_total") == 6


def test_a_child_has_files_of_its_own_and_leaves_its_parents_lock_alone(tmp_path: Path) -> None:
    def fork_once_more(metrics: Metrics) -> None:
        metrics.accepted(1)
        in_a_process(tmp_path, lambda own: own.accepted(10))

    living = in_a_process(tmp_path, fork_once_more, stays=True)

    assert found(tmp_path, "hookhub_events_accepted_total") == 11
    assert found(tmp_path, "hookhub_processes") == 1
    end(living)


def test_histograms_of_dead_processes_keep_their_buckets(tmp_path: Path) -> None:
    for seconds in (0.002, 0.2, 0.2):
        in_a_process(tmp_path, lambda metrics, took=seconds: metrics.responded("POST", "/v1/events", 202, seconds=took))
    found(tmp_path, "hookhub_slots")

    (histogram,) = [one for one in MetricFiles(tmp_path).collect() if one.name == "hookhub_publish_duration_seconds"]
    buckets = {sample.labels.get("le"): sample.value for sample in histogram.samples if sample.name.endswith("_bucket")}
    assert (buckets["0.001"], buckets["0.0025"], buckets["0.1"], buckets["0.25"], buckets["+Inf"]) == (0, 1, 1, 3, 3)
    assert found(tmp_path, "hookhub_publish_duration_seconds_count") == 3
    assert found(tmp_path, "hookhub_publish_duration_seconds_sum") == pytest.approx(0.402)


DEATHS = {
    "before the journal": ("rename", 0),
    "after the journal": ("rename", 1),
    "between the archives": ("rename", 2),
    "before the files go": ("unlink", 2),
    "in the middle of the files": ("unlink", 5),
    "before the journal goes": ("unlink", 10),
}


@pytest.mark.parametrize("death", DEATHS)
def test_who_dies_while_adding_up_counts_nothing_twice_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, death: str
) -> None:
    for _ in range(2):
        in_a_process(tmp_path, accept_five)
    name, steps = DEATHS[death]
    real, left = getattr(Path, name), steps

    class Died(Exception):
        pass

    def die_at(path: Path, *args: object, **options: object) -> object:
        nonlocal left
        if left == 0:
            raise Died
        left -= 1
        return real(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, name, die_at)
        with pytest.raises(Died):
            MetricFiles(tmp_path).collect()

    assert found(tmp_path, "hookhub_events_accepted_total") == 10
    in_a_process(tmp_path, accept_five)
    assert found(tmp_path, "hookhub_events_accepted_total") == 15
    assert not (tmp_path / metric_files.JOURNAL).exists()


def test_a_damaged_file_costs_its_own_figures_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    in_a_process(tmp_path, accept_five)
    living = in_a_process(tmp_path, accept_five, stays=True)
    (damaged,) = tmp_path.glob(f"counter_{living}-*.db")
    damaged.write_bytes(b"\xff\xff\x00\x00" + bytes(100))

    assert found(tmp_path, "hookhub_events_accepted_total") == 5
    assert "Skipped a damaged file of metrics" in caplog.text
    end(living)
    assert found(tmp_path, "hookhub_events_accepted_total") == 5


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "theirs")

    with pytest.raises(FolderUnusable, match="is not a folder of this user"):
        MetricFiles(tmp_path / "link").join()


def test_a_disk_that_is_full_is_found_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)

    with pytest.raises(FolderUnusable, match="No space left"):
        MetricFiles(tmp_path).join()


def test_a_journal_names_what_it_replaces(tmp_path: Path) -> None:
    (tmp_path / "counter_archive.new").write_bytes(b"new")
    (tmp_path / "counter_7-0a.db").write_bytes(b"old")
    (tmp_path / metric_files.JOURNAL).write_text(
        json.dumps({"drafts": ["counter_archive.new"], "superfluous": ["counter_7-0a.db", "7-0a.lock"]})
    )

    MetricFiles(tmp_path)._complete_merge()

    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"counter_archive.db": b"new"}
