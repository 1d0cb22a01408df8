"""The fault harness's receiver logs every request with its own verdict on the signature."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from chaos.workload.receiver import ScriptedReceiver, read_head
from testbed.receiver import content_length

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"push","data":{"k":"1-single-7"}}'


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "arrivals"


@pytest.fixture
def receiver(log: Path) -> Iterator[ScriptedReceiver]:
    opened = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    made = ScriptedReceiver(opened)
    made.configure({"secrets": {"/steady": SECRET}})
    yield made
    os.close(opened)


def signed(body: bytes) -> dict[str, str]:
    now = datetime.now(UTC)
    text = body.decode(errors="replace")
    return {
        "webhook-id": "0190-a",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(SECRET).sign("0190-a", now, text),
    }


def written(log: Path) -> dict[str, Any]:
    [line] = log.read_text().splitlines()
    return dict(json.loads(line))


def test_a_body_cut_short_and_signed_as_it_is_is_logged_as_validly_signed(
    receiver: ScriptedReceiver, log: Path
) -> None:
    cut = BODY[:-9]

    assert receiver.take("/steady", signed(cut), cut) == "200"

    assert (written(log)["signature"], written(log)["key"]) == ("valid", "")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"webhook-signature": "no version and no comma"}, BODY),
        ({"webhook-signature": "v1,a"}, BODY),
        ({"webhook-timestamp": "9" * 400}, BODY),
        ({"webhook-id": ""}, BODY),
        ({}, b'{"k":"\xff"}'),
    ],
    ids=["signature of another form", "signature that is no base64", "endless time", "no id", "body that is no text"],
)
def test_whatever_the_verifier_trips_over_is_written_down_as_invalid(
    receiver: ScriptedReceiver, log: Path, headers: dict[str, str], body: bytes
) -> None:
    assert receiver.take("/steady", signed(body) | headers, body) == "200"

    assert written(log)["signature"].startswith("invalid: ")


def test_a_request_without_a_path_or_with_a_length_that_is_no_number_is_still_one() -> None:
    assert read_head(b"nonsense\r\n\r\n") == ("", {})
    assert read_head(b"POST /steady HTTP/1.1\r\nWebhook-Id:  a\r\n\r\n") == ("/steady", {"webhook-id": "a"})
    heads = [f"POST / HTTP/1.1\r\ncontent-Length: {text}".encode() for text in ("12", "-1", "²", "many")]
    lengths = [content_length(head) for head in heads]
    assert lengths == [12, 0, 0, 0]
    assert content_length(b"POST / HTTP/1.1") == 0
