"""One worker of all does the periodic work, also when it dies, stands still, or is one of many that begin at once."""

import threading
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from deliveries.db import sql
from deliveries.models import Leader
from deliveries.worker.leadership import TERM, Leadership
from tests.story import counted_statements, together

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = timedelta(seconds=1)


def candidates(number: int = 2) -> list[Leadership]:
    return [Leadership("maintenance", worker=f"worker-{place}") for place in range(number)]


def test_the_first_leads_and_the_others_do_not(now: datetime) -> None:
    first, second = candidates()

    assert first.begin(now=now)
    first.end()
    assert not second.begin(now=now + SECOND)
    assert first.begin(now=now + SECOND)


def test_kinds_of_work_have_leaders_of_their_own(now: datetime) -> None:
    assert Leadership("maintenance", worker="a").begin(now=now)
    assert Leadership("notices", worker="b").begin(now=now)


def test_of_many_that_begin_at_once_one_leads(now: datetime) -> None:
    leads: list[bool] = []
    all_of_them = candidates(8)

    together(*(lambda one=one: leads.append(one.begin(now=now)) for one in all_of_them))

    assert sorted(leads) == [False] * 7 + [True]


def test_a_leader_that_died_is_replaced_when_its_term_is_over(now: datetime) -> None:
    dead, second = candidates()
    dead.begin(now=now)

    assert not second.begin(now=now + TERM - SECOND)
    assert second.begin(now=now + TERM)
    assert not dead.begin(now=now + TERM + SECOND)


def test_a_leader_remains_one_without_a_gap_and_rarely_writes(now: datetime) -> None:
    first, second = candidates()
    writes = 0

    for number in range(60):
        at = now + number * SECOND
        with counted_statements() as statements:
            assert first.begin(now=at)
            first.end()
        writes += any("INSERT" in statement for statement in statements)
        assert not second.begin(now=at)

    assert writes <= 60 * SECOND / (TERM / 2) + 1


def test_during_a_long_round_another_thread_renews_it(now: datetime) -> None:
    first, second = candidates()
    first.begin(now=now)

    for number in range(1, 40):
        first.renew(now=now + number * SECOND)
        assert not second.begin(now=now + number * SECOND)

    first.end()
    first.renew(now=now + 46 * SECOND)
    assert second.begin(now=now + 60 * SECOND)


def test_a_renewal_does_not_wait_for_a_thread_that_elects(now: datetime) -> None:
    [leader] = candidates(1)
    assert leader.begin(now=now)
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute("LOCK TABLE hookhub_leader")
        elects = threading.Thread(target=begin_elsewhere, args=(leader, now + TERM))
        elects.start()
        while not leader._lock.locked():
            elects.join(0.01)

        leader.renew(now=now + TERM)

        assert elects.is_alive()
    elects.join(60)


def begin_elsewhere(leader: Leadership, now: datetime) -> None:
    try:
        leader.begin(now=now)
    finally:
        connection.close()


def test_a_leader_that_stood_still_for_too_long_cannot_renew_what_another_has(now: datetime) -> None:
    first, second = candidates()
    first.begin(now=now)
    assert second.begin(now=now + TERM)

    first.renew(now=now + TERM + SECOND)

    assert Leader.objects.get().worker_id == "worker-1"


def test_after_a_resignation_another_leads_at_once(now: datetime) -> None:
    first, second = candidates()
    first.begin(now=now)
    first.end()
    # It is not the leader, so nothing changes.
    second.resign()
    assert not second.begin(now=now)

    first.resign()

    assert second.begin(now=now)


def test_a_term_from_before_the_clock_was_set_back_does_not_last(now: datetime) -> None:
    first, second = candidates()
    first.begin(now=now + timedelta(days=1))

    assert second.begin(now=now)
    assert not first.begin(now=now)


def test_it_holds_no_lock_of_a_session(now: datetime) -> None:
    candidates()[0].begin(now=now)

    assert sql.run("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()", {}) == [(0,)]
