"""The log line of an attempt is valid JSON, whatever its error contains."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from deliveries.log_lines import PIPE_ATOMIC, chunk
from deliveries.pipeline.attempt_log import line_of

ROW: dict[str, Any] = {
    "deliveries": UUID(int=1), "webhooks": 7, "numbers": 2, "outcomes": "no_response",
    "durations": timedelta(seconds=3), "states": "pending", "statuses": None, "errors": "", "finish_reasons": None,
    "due": None, "organizations": "acme", "traces": None,
}  # fmt: skip
COMMON = {
    "delivery": "00000000-0000-0000-0000-000000000001", "webhook": 7, "organization": "acme", "attempt": 2,
    "outcome": "no_response", "duration": "0:00:03", "state": "pending",
}  # fmt: skip


@pytest.mark.parametrize("error", ['said "no"', "two\nlines", "\\", "\u2028 \x00 \x7f", "größer", "}"])
def test_any_error_is_logged_in_one_line(error: str) -> None:
    line = line_of({**ROW, "errors": error}, was_ours=True)

    assert len(line.splitlines()) == 1
    assert json.loads(line) == {**COMMON, "was_ours": True, "error": error}


def test_a_missing_value_is_left_out() -> None:
    due = datetime(2026, 3, 4, 12, tzinfo=UTC)

    assert json.loads(line_of({**ROW, "due": due}, was_ours=False)) == {
        **COMMON, "was_ours": False, "due_at": "2026-03-04 12:00:00+00:00",
    }  # fmt: skip
    assert json.loads(line_of({**ROW, "statuses": 500, "finish_reasons": "exhausted"}, was_ours=None)) == {
        **COMMON, "was_settled_before": True, "status": 500, "finish_reason": "exhausted",
    }  # fmt: skip


def test_a_trace_is_named() -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"

    assert json.loads(line_of({**ROW, "traces": trace}, was_ours=True)) == {**COMMON, "was_ours": True, "trace": trace}


def test_chunks_are_at_most_as_long_as_an_atomic_write_and_no_line_is_cut() -> None:
    lines = [str(number).zfill(300) for number in range(100)] + ["x" * (PIPE_ATOMIC + 1), "last"]

    records = list(chunk(lines))

    assert [line for record in records for line in record.split("\n")] == lines
    assert [len(record) + 1 <= PIPE_ATOMIC for record in records].count(False) == 1
    assert len(records) < len(lines) / (PIPE_ATOMIC // 301) + 3
    assert list(chunk([])) == []
