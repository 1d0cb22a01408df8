"""What the benchmarks compute: percentiles, plans, tables, and a document whose other text is preserved."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench import cpu, leased, others, report, scale, steady
from bench.__main__ import BENCHES
from bench.fanout import Round, figures
from bench.receiver import delivery_id_of, planned_at_of, without_number
from bench.tables import COLUMNS, place, shown, table, tables
from testbed.receiver import content_length
from testbed.sampling import Memory, percentiles

REQUEST = (
    b"POST /ok HTTP/1.1\r\nHost: 127.0.0.1:1\r\nwebhook-id: 0190-aa\r\nContent-Length: 61\r\n\r\n"
    b'{"type":"push","timestamp":"2026","data":{"t":12.5,"ref":"x"}}'
)


def test_percentiles_are_milliseconds_between_the_samples() -> None:
    seconds = [number / 1000 for number in range(101)]

    assert percentiles(seconds) == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}
    assert percentiles([0.1, 0.3], "_idle") == {"p50_ms_idle": 200.0, "p95_ms_idle": 290.0, "p99_ms_idle": 298.0}


def test_the_receiver_reads_what_it_needs_of_a_request() -> None:
    head, _, body = REQUEST.partition(b"\r\n\r\n")

    assert delivery_id_of(head) == b"0190-aa"
    assert planned_at_of(body) == 12.5
    assert planned_at_of(body.replace(b'"t"', b'"u"')) == 0.0
    assert content_length(head) == 61
    assert content_length(head.partition(b"\r\nContent-Length")[0]) == 0
    assert content_length(b"GET /report HTTP/1.1\r\nHost: x") == 0


def plan(**changed: float) -> steady.Plan:
    kinds = (steady.Kind("push", "loud", 0.9), steady.Kind("issues", "100%", 0.1))
    return steady.Plan("http://127.0.0.1:1", "hh_key", kinds, **{"per_second": 330, "seconds": 1, **changed})


def events_of(mix: steady.Mix, count: int) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        head, _, body = mix.write(10.25 + number).partition(b"\r\n\r\n")
        assert content_length(head) == len(body)
        assert b"Authorization: Bearer hh_key" in head
        found.append(json.loads(body))
    return found


def test_a_steady_load_is_single_events_that_tell_when_they_were_meant_to_be_sent() -> None:
    events = events_of(steady.Mix(plan()), 50)

    assert [event["data"]["t"] for event in events] == [10.25 + number for number in range(50)]
    assert len({event["id"] for event in events}) == 50


def test_a_steady_load_keeps_its_shares_and_counts_its_kinds() -> None:
    mix, again = steady.Mix(plan()), steady.Mix(plan())

    events, same = events_of(mix, 100), events_of(again, 100)

    repositories = [event["repository"] for event in events]
    assert repositories == [event["repository"] for event in same]
    assert mix.published == [repositories.count("loud"), repositories.count("100%")]
    assert sum(mix.published) == 100
    assert 80 <= mix.published[0] <= 97


def test_cpu_time_is_counted_per_event_and_per_part() -> None:
    before = {"web": 1.0, "postgres": 0.5}
    after = {"web": 1.25, "postgres": 0.6, "worker": 0.05}

    parts = cpu.each_us(before, after, events=100)

    assert parts == {"web_us": 2500, "postgres_us": 1000, "worker_us": 500}
    assert cpu.each_us(before, before, events=0) == {"web_us": 0, "postgres_us": 0}


def test_paths_are_counted_together_whatever_number_they_end_with() -> None:
    paths = [b"/ok/17", b"/ok/healthy/3", b"/ok/healthy", b"/ok/all/999", b"/hang"]

    assert [without_number(path) for path in paths] == [b"/ok", b"/ok/healthy", b"/ok/healthy", b"/ok/all", b"/hang"]


def test_rounds_are_put_together_as_medians_and_sums() -> None:
    rounds = [
        Round([0.002, 0.004], 0.003, 2.0, 2.5, lost=0, duplicated=1, memory=Memory(110.0, 230.0)),
        Round([0.006, 0.002], 0.009, 4.0, 4.5, lost=2, duplicated=0, memory=Memory(112.5, 229.0)),
        Round([0.003, 0.003], 0.006, 1.0, 1.5, lost=0, duplicated=0, memory=Memory(111.0, 228.0)),
    ]

    assert figures(rounds, webhooks=1000, before=Memory(100.0, 220.0)) == {
        "webhooks": 1000,
        "repetitions": 3,
        "accept_ms_to_one": 3.0,
        "accept_ms_to_all": 6.0,
        "accept_ratio": 2.0,
        "all_arrived_s": 2.0,
        "all_settled_s": 2.5,
        "deliveries_per_s": 500,
        "lost": 2,
        "duplicated": 1,
        "largest_process_mb_before": 100.0,
        "largest_process_mb_after": 112.5,
        "memory_growth_mb": 12.5,
        "sum_pss_mb_before": 220.0,
        "sum_pss_mb_after": 230.0,
    }


def test_scale_fills_in_as_much_as_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_ROWS", raising=False)
    assert scale.sizes(10) == (1_000_000, 30_000)
    assert scale.sizes(1) == (50_000, 2_000)

    monkeypatch.setenv("BENCH_ROWS", "400")
    assert scale.sizes(10) == (400, 30_000)

    for wrong in ("399", "many", "-5", "1e6"):
        monkeypatch.setenv("BENCH_ROWS", wrong)
        with pytest.raises(SystemExit, match="BENCH_ROWS must be an integer of at least 400"):
            scale.sizes(10)


def test_other_webhooks_are_reported_as_ratios() -> None:
    found = {
        count: {"p50_ms": p50, "p99_ms": 20.0, "postgres_us": cost}
        for count, p50, cost in ((0, 8.0, 1000), (1000, 10.0, 1200))
    }

    assert others.ratios(found) == {
        "ratio_of_p50_ms_among_1000": 1.25,
        "ratio_of_p99_ms_among_1000": 1.0,
        "ratio_of_postgres_us_among_1000": 1.2,
    }


def test_a_figure_stands_in_the_column_that_its_name_ends_or_begins_with() -> None:
    assert place("p50_ms_with", COLUMNS["fairness"]) == ("_with", "p50_ms")
    assert place("p50_ms_without", COLUMNS["fairness"]) == ("_without", "p50_ms")
    assert place("batch_p50_ms_at_80", COLUMNS["endtoend"]) == ("batch_", "p50_ms_at_80")
    assert place("webhooks", COLUMNS["scale"]) == ("", "webhooks")
    assert place("yardstick_p50_ms", COLUMNS["latency"]) == ("yardstick_", "p50_ms")
    assert place("ratio_to_yardstick", COLUMNS["latency"]) == ("", "ratio_to_yardstick")
    assert place("web_us_at_1000", COLUMNS["light"]) == ("_at_1000", "web_us")
    assert place("ratio_full_to_empty", COLUMNS["scale"]) == ("", "ratio_full_to_empty")


def test_what_comes_several_times_is_compared_and_what_comes_once_is_listed() -> None:
    found = {"events": 400, "p50_ms_without": 11.5, "p50_ms_with": 12.0, "hung_with": 1800, "ratio": 1.04}

    assert tables("fairness", found) == (
        "|          | without bad receivers | with bad receivers |\n"
        "| -------- | --------------------: | -----------------: |\n"
        "| `p50_ms` |                  11.5 |               12.0 |\n"
        "| `hung`   |                       |              1,800 |\n"
        "\n"
        "|          | figure |\n"
        "| -------- | -----: |\n"
        "| `events` |    400 |\n"
        "| `ratio`  |   1.04 |"
    )


def test_a_figure_without_a_mark_joins_its_namesakes() -> None:
    text = tables("throughput", {"lost": 0, "naive_per_s": 300, "lost_10kb": 1, "lost_10kb_to_10": 2})

    several, once = text.split("\n\n")
    assert several.splitlines()[2] == "| `lost` |                 0 |            |          1 |           2 |"
    assert once.splitlines()[2:] == ["| `naive_per_s` |    300 |"]


def test_figures_are_written_for_people() -> None:
    assert [shown(value) for value in (1234567, 0.5, None, "fsync on")] == ["1,234,567", "0.5", "", "fsync on"]
    assert table(["", "a"], [["x", "1"]]) == "|     |   a |\n| --- | --: |\n| x   |   1 |"


def a_document() -> str:
    begin, end = report.markers("latency")
    return f"# Title\n\nProse before.\n\n{begin}\nold figures\n{end}\n\nProse after, with | a pipe.\n"


def test_new_figures_leave_the_prose_as_it_is() -> None:
    once = report.replace(a_document(), {"latency": "new figures"})
    twice = report.replace(once, {"latency": "newer\n\nfigures"})

    assert once == a_document().replace("old figures", "new figures")
    assert twice == a_document().replace("old figures", "newer\n\nfigures")


@pytest.mark.parametrize("broken", [a_document().replace("latency", "other"), a_document().replace("end of", "")])
def test_a_document_without_a_place_for_the_figures_is_refused(broken: str) -> None:
    with pytest.raises(report.MarkersMissing, match="figures of latency"):
        report.replace(broken, {"latency": "new figures"})


def test_a_failing_bench_keeps_its_figures_and_does_not_keep_the_others_from_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(seconds: float, log: object) -> dict[str, object]:
        raise RuntimeError("timed out after 5 s")

    document = tmp_path / "benchmarks.md"
    [(begin, end), (other, other_end), (about, about_end)] = map(report.markers, ["latency", "memory", report.MACHINE])
    document.write_text(f"A\n{begin}\nold\n{end}\nB\n{other}\nold\n{other_end}\nC\n{about}\n{about_end}\n")
    monkeypatch.setattr(
        report, "BENCHES", {"latency": fail, "memory": lambda seconds, log: {"in_flight": round(seconds)}}
    )
    monkeypatch.setattr(report, "about_the_machine", lambda: "a machine")

    with pytest.raises(ExceptionGroup) as failed:
        report.write(document, ["latency", "memory"])

    [reason] = failed.value.exceptions
    assert str(reason) == "timed out after 5 s"
    text = document.read_text()
    assert text.startswith(f"A\n{begin}\nold\n{end}\nB\n{other}\n|")
    assert "| `in_flight` |      5 |" in text
    assert text.endswith(f"{other_end}\nC\n{about}\na machine\n{about_end}\n")


def test_the_document_has_a_place_for_every_bench() -> None:
    text = report.DOCUMENT.read_text()

    for name in [report.MACHINE, *BENCHES]:
        assert "XYZ" in report.replace(text, {name: "XYZ"})


def test_leased_webhooks_are_compared_with_the_others_pair_by_pair() -> None:
    plain = [leased.Round(1.0, 0.1), leased.Round(2.0, 0.2), leased.Round(4.0, 0.3)]
    others = [leased.Round(1.1, 0.1), leased.Round(2.0, 0.25), leased.Round(4.0, 0.3)]

    assert leased.figures({"plain": plain, "leased": others}, webhooks=1000) == {
        "webhooks": 1000, "repetitions": 3, "all_arrived_s_plain": 2.0, "cpu_us_plain": 200.0,
        "all_arrived_s_leased": 2.0, "cpu_us_leased": 250.0, "ratio": 1.0, "cpu_ratio": 1.0,
    }  # fmt: skip
