"""How the fault harness's publishers interpret answers, and what they do when they fail themselves."""

import io
import json
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from chaos.workload import publisher
from chaos.workload.events import make
from chaos.workload.publisher import Journal, Plan, Result, meaning_of, publish_one, summary_of


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(202, "acknowledged"), (200, "unknown"), (400, "rejected"), (409, "rejected"), (500, "unknown"), (503, "unknown")],
)
def test_only_202_is_an_acknowledgement(status: int, outcome: str) -> None:
    assert meaning_of(status) == outcome


@pytest.mark.parametrize(
    ("tries", "summary"),
    [
        ([Result("acknowledged", 202)], Result("acknowledged", 202)),
        ([Result("rejected")], Result("rejected")),
        ([Result("rejected", 422)], Result("rejected", 422)),
        ([Result("unknown"), Result("rejected")], Result("unknown")),
        ([Result("unknown", 503), Result("unknown"), Result("acknowledged", 202)], Result("acknowledged", 202)),
        ([Result("unknown"), Result("rejected", 409), Result("acknowledged", 202)], Result("acknowledged", 409)),
    ],
)
def test_a_rejection_is_remembered_whatever_came_after_it(tries: list[Result], summary: Result) -> None:
    assert summary_of(tries) == summary


def test_the_status_of_a_rejection_is_written_down(tmp_path: Path) -> None:
    events = [make(number, seed=1, route="batch") for number in range(2)]

    publish_one(
        lambda _: Result("rejected", 422),
        events,
        journal=Journal(str(tmp_path / "journal")),
        route="batch",
        is_patient=False,
        stopped=threading.Event(),
    )

    lines = [json.loads(line) for line in (tmp_path / "journal").read_text().splitlines()]
    assert [(line["key"], line["outcome"], line["status"]) for line in lines[2:]] == [
        ("1-batch-0", "rejected", 422),
        ("1-batch-1", "rejected", 422),
    ]


def test_a_thread_that_fails_fails_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No thread can open its log.
    plan = Plan(
        "http://127.0.0.1:1", "", "redis://127.0.0.1:1/0", "s", str(tmp_path / "no" / "journal"), 1, {"single": 9}
    )
    monkeypatch.setattr(sys, "argv", ["publisher", json.dumps(asdict(plan))])
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    with pytest.raises(FileNotFoundError):
        publisher.main()
