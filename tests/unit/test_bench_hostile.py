"""Which figures the hostile benchmark reports as faults."""

from typing import Any

import pytest

from bench.hostile import failures_in

WELL: dict[str, Any] = {
    "health_checks": 50,
    "slowest_health_check_s": 0.9,
    "apart": {"published": 30, "delivered": 30, "twice": 0, "slowest_s": 2.9},
    "beside": {"published": 31, "delivered": 31, "twice": 0, "slowest_s": 0.1},
    "attacks": {"silent connections": 1024, "slow bodies": 16, "webhooks 201": 64, "long bodies 422": 2},
}


def test_a_run_in_which_all_are_served_has_no_faults() -> None:
    assert failures_in(WELL) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        pytest.param(
            {"slowest_health_check_s": 1.2}, "the slowest of 50 health checks took 1.2 s", id="slow health check"
        ),
        pytest.param({"health_checks": 0}, "the slowest of 0 health checks took 0.9 s", id="no health check"),
        pytest.param(
            {"apart": {**WELL["apart"], "slowest_s": 3.1}},
            "apart: the slowest of 30 events was accepted after 3.1 s",
            id="slow event",
        ),
        pytest.param(
            {"beside": {**WELL["beside"], "delivered": 30}},
            "beside: 30 of 31 events were delivered, 0 twice",
            id="lost event",
        ),
        pytest.param(
            {"beside": {**WELL["beside"], "twice": 1}},
            "beside: 31 of 31 events were delivered, 1 twice",
            id="doubled event",
        ),
        pytest.param(
            {"attacks": {**WELL["attacks"], "webhooks 201": 3}},
            "only 3 of 64 attacks of kind 'webhooks 201' took place",
            id="feeble attack",
        ),
    ],
)
def test_what_was_not_served_is_named(changes: dict[str, Any], fault: str) -> None:
    assert failures_in({**WELL, **changes}) == [fault]
