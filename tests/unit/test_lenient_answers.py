"""Valid input in unusual notation: timestamps in lower case, and chats that confirm in JSON."""

from datetime import UTC, datetime, timedelta

import pytest

from deliveries.formats import FORMATS
from deliveries.management.commands.redeliver import as_moment
from hookhub.http.json_values import parse_timestamp

NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-01T00:00:00z", NEW_YEAR),
        ("2024-01-01t00:00:00Z", NEW_YEAR),
        ("2024-01-01t00:00:00.5z", NEW_YEAR + timedelta(milliseconds=500)),
        ("2024-01-01t01:00:00+01:00", NEW_YEAR),
    ],
)
def test_a_moment_in_lower_case_is_one(text: str, moment: datetime) -> None:
    assert (parse_timestamp(text), as_moment(text, of="--since")) == (moment, moment)


@pytest.mark.parametrize(
    ("body", "verdict"),
    [
        (b"ok", "delivered"),
        (b"ok\n", "delivered"),
        (b'{"success":true}', "delivered"),
        (b'{"result":"success","msg":""}', "delivered"),
        (b' {"ok":true}', "delivered"),
        (b"OK\n", "delivered"),
        (b'{"status":"ok"}', "delivered"),
        (b'{"status":"OK","id":"7"}', "delivered"),
        (b'{"status":"success"}', "delivered"),
        (b'{"result":"ok"}', "delivered"),
        (b'{"ok":false,"status":"ok"}', "retry"),
        (b'{"ok":true,"success":false}', "retry"),
        (b'{"status":"error"}', "retry"),
        (b'{"status":200}', "retry"),
        (b'{"status":["ok"]}', "retry"),
        (b'{"success":false}', "retry"),
        (b'{"success":"true"}', "retry"),
        (b'{"ok":1}', "retry"),
        (b'{"result":"error","msg":"x"}', "retry"),
        (b'{"error":"success"}', "retry"),
        (b"[true]", "retry"),
        (b"{", "retry"),
        (b'{"a":' * 5000, "retry"),
        (b"", "retry"),
        (b"<html>ok</html>", "retry"),
    ],
)
def test_a_chat_that_says_success_in_json_has_posted_the_message(body: bytes, verdict: str) -> None:
    assert FORMATS["slack"].verdict_on(200, body) == verdict
    assert FORMATS["slack"].verdict_on(404, body) == "gone"
