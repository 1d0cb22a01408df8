"""Mutations are applied, or fail loudly."""

import time
from dataclasses import replace

import pytest

from chaos.mutations import patches
from chaos.scenarios.mutants import CONTROLS, HUNTS
from chaos.setup import rewritten
from hookhub import procfile


def test_every_command_of_the_procfile_is_started_by_an_entry_point_of_the_harness() -> None:
    assert set(procfile.commands()) == {"web", "worker"}
    assert " -A chaos.mutations.celery worker" in rewritten(procfile.commands()["worker"])
    assert rewritten(procfile.commands()["web"]).endswith(" chaos.mutations.asgi:application")


def test_a_command_into_which_nothing_can_be_built_is_not_started_as_it_is() -> None:
    with pytest.raises(ValueError, match="no mutation can be applied to the command 'celery -A hookhub worker'"):
        rewritten("celery -A hookhub worker")


def test_a_clock_that_was_to_be_wrong_and_is_right_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(patches.CLOCK, "3600")

    with pytest.raises(RuntimeError, match=r"the clock is off by -?0\.0 s instead of 3600 s"):
        patches.prove_clock_wrong()


def test_a_clock_that_only_half_of_the_process_goes_by_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    right_time = time.time
    monkeypatch.setenv(patches.CLOCK, "3600")
    monkeypatch.setattr(time, "time", lambda: right_time() + 3600)

    with pytest.raises(RuntimeError, match="instead of 3600 s"):
        patches.prove_clock_wrong()


def test_a_clock_that_nobody_wanted_wrong_is_right() -> None:
    patches.prove_clock_wrong()


def test_each_bug_has_a_hunt_and_each_hunt_its_control() -> None:
    assert set(HUNTS) == set(patches.BUGS)
    assert [control.bug for control in CONTROLS] == [""] * len(HUNTS)
    for control, (bug, (scenario, rules)) in zip(CONTROLS, HUNTS.items(), strict=True):
        assert scenario.bug == bug
        assert rules <= set(range(1, 8))
        assert rules
        assert control == replace(scenario, name=control.name, sentence=control.sentence, bug="")
