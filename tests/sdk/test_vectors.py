"""The shared vectors are those of today's formats, and both names of the Python code pass them."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import hookhub_client.receiving
import pytest

import hookhub.receiving
from deliveries.formats import FORMATS
from tests.sdk import vectors

STALE = "The test vectors are not those of today's formats; run: make sdk"


def test_every_format_that_signs_has_vectors() -> None:
    assert vectors.SIGNATURES.keys() == {slug for slug, one in FORMATS.items() if one.secret_policy.allows_secret}


def test_the_vectors_are_those_of_todays_formats() -> None:
    assert {path.name: path.read_text() for path in vectors.FOLDER.glob("*.json")} == vectors.files(), STALE


@pytest.mark.parametrize("module", [hookhub.receiving, hookhub_client.receiving], ids=lambda module: module.__name__)
@pytest.mark.parametrize("slug", vectors.SIGNATURES)
def test_python_says_of_each_request_what_its_vector_says(module: Any, slug: str) -> None:
    cases = vectors.load(slug)

    assert {case["name"]: outcome(module, slug, case) for case in cases} == {
        case["name"]: {key: case[key] for key in ("event", "error") if key in case} for case in cases
    }
    assert len(cases) > 40


def outcome(module: Any, slug: str, case: dict[str, Any]) -> dict[str, Any]:
    options = {name: timedelta(seconds=case[name]) for name in ("tolerance", "max_event_age") if name in case}
    try:
        received = module.verify(
            base64.b64decode(case["body"]), case["headers"], secrets=case["secrets"], format=slug,
            now=datetime.fromtimestamp(case["now"], UTC), **options,
        )  # fmt: skip
    except module.VerificationFailed as failed:
        return {"error": failed.code}
    moment = received.timestamp and received.timestamp.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"event": {"type": received.type, "id": received.id, "timestamp": moment, "data": received.data}}
