"""What the fault harness derives from a seed, serializes and charts is the same each time."""

import hashlib
import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from chaos import history
from chaos.history import Published
from chaos.nemesis.faults import FAULTS
from chaos.scenarios import catalogue
from chaos.scenarios.mutants import MUTANTS
from chaos.scenarios.scenario import FIRST_AFTER_SECONDS, Scenario, plan
from chaos.soak import SOAK
from chaos.svg import Curve, Panel, draw, nice_above
from chaos.workload.behaviour import ANSWERS, ReceiverBehaviour, answer_to, as_json, from_json
from chaos.workload.events import make
from deliveries.failpoints import FAILPOINTS, OF_VERIFICATIONS, hit

EVERY = (*catalogue.SCENARIOS, *catalogue.SHORT, *MUTANTS, SOAK)


def test_every_scenario_has_a_name_of_its_own_and_faults_that_exist() -> None:
    names = [scenario.name for scenario in EVERY]

    assert len(set(names)) == len(names)
    for scenario in EVERY:
        assert set(scenario.faults) | set(scenario.before) <= set(FAULTS), scenario.name
        for part in scenario.subscribers:
            assert min(part.schedule) >= 1, scenario.name
            assert all(set(act.weights) | {act.first or "200"} <= set(ANSWERS) for act in part.behaviours), (
                scenario.name
            )


def test_every_failpoint_has_a_scenario_in_which_a_process_dies_there() -> None:
    faults = {one.name: set(one.faults) for one in catalogue.SCENARIOS}

    assert {f"kill-at-{point}" for point in FAILPOINTS} <= faults["failpoints-killed"]
    assert {f"kill-at-{point}" for point in OF_VERIFICATIONS} <= faults["subscriptions"]


def test_failpoints_are_nothing_unless_they_are_wanted() -> None:
    assert hit.__name__ == "_go_on"


def test_a_seed_decides_which_fault_begins_when() -> None:
    drawn = Scenario("drawn", "", faults=("kill-child", "kill-web", "flush-redis"), draws=8, every=2)

    steps = plan(drawn, seed=1)

    assert steps == plan(drawn, seed=1)
    assert steps != plan(drawn, seed=2)
    assert len(steps) == 8
    assert {step.fault for step in steps} == set(drawn.faults)
    assert steps == sorted(steps, key=lambda step: step.at)
    assert abs(steps[-1].at - (FIRST_AFTER_SECONDS + 14)) <= 0.3
    assert [step.fault for step in plan(replace(drawn, draws=0), seed=1)] == list(drawn.faults)


def test_what_is_to_last_from_the_start_is_not_ended_as_soon_as_other_faults_begin() -> None:
    [absent] = [one for one in catalogue.SCENARIOS if one.name == "redis-absent"]

    [step] = plan(absent, seed=1)

    assert (step.fault, step.at) == ("revive", pytest.approx(8, abs=0.3))


def test_the_receiver_answers_as_its_script_says_for_that_webhook_and_time() -> None:
    script = from_json(json.loads(json.dumps(as_json({
        "/flaky": (
            ReceiverBehaviour({"200": 1}, until=2),
            ReceiverBehaviour({"500": 1}, until=4, first="reset"),
            ReceiverBehaviour({"hang": 1, "drip": 1}),
        ),
    }))))  # fmt: skip

    def answer(path: str, at: float, nth: int = 1, delivery: str = "a") -> str:
        return answer_to(script, path, delivery=delivery, nth=nth, at=at, seed=3)

    assert [answer("/flaky", 1.9), answer("/flaky", 2), answer("/flaky", 3.9, nth=2)] == ["200", "reset", "500"]
    assert {answer("/flaky", 9, delivery=str(number)) for number in range(20)} == {"hang", "drip"}
    assert answer("/flaky", 9) == answer("/flaky", 99)
    assert answer("/elsewhere", 3) == "200"


def test_an_event_is_the_same_each_time_it_is_made_and_names_the_bytes_that_must_arrive() -> None:
    made = make(7, seed=1, route="single")

    assert made == make(7, seed=1, route="single")
    assert made.key == "1-single-7"
    told = json.loads(made.line)
    assert (told["id"], told["type"], told["data"]["k"]) == (made.key, made.type, made.key)
    # Composed by hand, as the format's documentation specifies.
    data = made.line[made.line.index(b'"data":') + 7 : -1]
    body = b'{"type":"%s","timestamp":"2026-03-04T12:00:00.007Z","data":%s}' % (made.type.encode(), data)
    assert made.sha == hashlib.sha256(body).hexdigest()
    assert json.dumps(json.loads(data)).encode() != data
    assert len(make(10, seed=1, route="batch").line) > 6000


def test_a_journal_that_breaks_off_leaves_its_last_events_unknown() -> None:
    lines = [
        '{"key":"a","type":"push","sha":"1","route":"single","at":1.0}',
        '{"key":"b","type":"push","sha":"2","route":"stream","at":2.0}',
        '{"key":"a","outcome":"acknowledged","answered_at":1.5}',
    ]

    assert history.read_journal(lines) == [
        Published("a", "push", "1", "single", 1.0, "acknowledged", 1.5),
        Published("b", "push", "2", "stream", 2.0, "unknown", 2.0),
    ]


def test_a_picture_is_well_formed_and_within_its_frame() -> None:
    panels = [
        Panel("Memory <all>", " MB", [Curve("worker & web", [(0, 10), (30, 95.5), (60, 20)])]),
        Panel("Nothing", "", [Curve("empty", [])]),
    ]

    picture = draw("A soak", panels, marks=[15.0], until=60)

    root = ET.fromstring(picture)
    lines = [element for element in root if element.tag.endswith("polyline")]
    points = [tuple(map(float, pair.split(","))) for pair in lines[0].attrib["points"].split()]
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    assert len(points) == 3
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    assert points[1][1] < points[2][1] < points[0][1]
    assert "Memory <all>" in [element.text for element in root]


@pytest.mark.parametrize(
    ("value", "above"), [(0, 1), (-3, 1), (0.03, 0.04), (1, 1), (1.1, 2), (95.5, 100), (100, 100), (130_000, 200_000)]
)
def test_an_axis_ends_at_a_number_that_divides_well(value: float, above: float) -> None:
    assert nice_above(value) == pytest.approx(above)
