"""Health checks: the cost of a flood of them, and a database that does not respond."""

import asyncio
import threading
from datetime import timedelta

import pytest

from hookhub.server import health
from hookhub.server.health import Readiness, Report

READY: Report = (200, {"status": "ok"})
NOT_READY: Report = (503, {"status": "unavailable"})


def test_a_flood_of_probes_is_answered_by_one_look() -> None:
    looks: list[int] = []

    def look() -> Report:
        looks.append(1)
        return READY

    async def scenario() -> list[Report]:
        readiness = Readiness(look, otherwise=NOT_READY)
        return list(await asyncio.gather(*(readiness.report() for _ in range(1000))))

    assert asyncio.run(scenario()) == [READY] * 1000
    assert looks == [1]


def test_a_database_that_does_not_answer_is_looked_at_once_however_many_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ANSWERS_WITHIN", timedelta(milliseconds=10))
    monkeypatch.setattr(health, "FRESH_FOR", timedelta(0))
    gate, looks = threading.Event(), []

    def look() -> Report:
        looks.append(1)
        gate.wait()
        return READY

    async def scenario() -> None:
        readiness = Readiness(look, otherwise=NOT_READY)
        assert [await readiness.report() for _ in range(3)] == [NOT_READY] * 3
        assert looks == [1]
        gate.set()
        while await readiness.report() != READY:
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_a_look_that_fails_is_an_answer_too() -> None:
    def look() -> Report:
        raise RuntimeError("what nobody thought of")

    async def scenario() -> Report:
        return await Readiness(look, otherwise=NOT_READY).report()

    assert asyncio.run(scenario()) == NOT_READY
