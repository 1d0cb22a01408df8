"""Mutations are applied, or fail loudly."""

import time
from dataclasses import replace

import pytest

from chaos.checkers.rules import RULES
from chaos.mutations import clock, patches
from chaos.scenarios.mutants import CONTROLS, MUTANTS
from chaos.setup import rewritten
from hookhub import procfile


def test_every_command_of_the_procfile_is_started_by_an_entry_point_of_the_harness() -> None:
    assert set(procfile.commands()) == {"web", "worker"}
    assert " -A chaos.mutations.celery worker" in rewritten(procfile.commands()["worker"])
    assert rewritten(procfile.commands()["web"]).endswith(" chaos.mutations.asgi:application")


def test_a_command_into_which_nothing_can_be_built_is_not_started_as_it_is() -> None:
    with pytest.raises(ValueError, match="no mutation can be applied to the command 'celery -A hookhub worker'"):
        rewritten("celery -A hookhub worker")


def test_a_clock_that_should_be_wrong_and_is_right_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clock.CLOCK, "3600")

    with pytest.raises(RuntimeError, match=r"the clock is off by -?0\.0 s instead of 3600 s"):
        clock.prove_clock_wrong()


def test_a_clock_that_is_wrong_for_half_of_the_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    right_time = time.time
    monkeypatch.setenv(clock.CLOCK, "3600")
    monkeypatch.setattr(time, "time", lambda: right_time() + 3600)

    with pytest.raises(RuntimeError, match="instead of 3600 s"):
        clock.prove_clock_wrong()


def test_a_clock_is_right_by_default() -> None:
    clock.prove_clock_wrong()


def test_each_mutation_has_a_scenario_and_each_of_those_a_control() -> None:
    assert [mutant.bug for mutant in MUTANTS] == list(patches.MUTATIONS)
    assert [control.bug for control in CONTROLS] == [""] * len(MUTANTS)
    for control, mutant in zip(CONTROLS, MUTANTS, strict=True):
        assert mutant.expected_rules <= set(RULES)
        assert mutant.expected_rules
        assert not control.expected_rules
        assert control == replace(
            mutant, name=control.name, claim=control.claim, bug="", expected_rules=control.expected_rules
        )
