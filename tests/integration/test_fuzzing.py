"""Each accepted exception from the OpenAPI document is about an existing operation, and covers nothing more."""

import pytest

from tests.documents import Document
from tests.fuzzing import meant
from tests.fuzzing.meant import Finding

REPLAYS = "POST /v1/replays"
UNKNOWN = b'{"error": {"code": "invalid", "message": "No.", "fields": [%s]}}'
WEBHOOK = b'{"field": "webhook", "message": "does not exist"}'
STATE = b'{"field": "state", "message": "must be one or more of: pending"}'


@pytest.mark.django_db
def test_every_exception_names_operations_and_a_check_that_there_are() -> None:
    from schemathesis.checks import CHECKS, load_all_checks

    operations = {f"{operation.method} {operation.path}" for operation, _ in Document().operations()}
    load_all_checks()
    checks = set(CHECKS.get_all_names())

    listed = meant.read()

    assert {name for one in listed for name in one.operations} - operations == set()
    assert {one.check for one in listed} - checks == set()
    assert [one for one in listed if not one.reason.endswith(".")] == []


@pytest.mark.parametrize(
    ("operation", "check", "fields", "is_meant"),
    [
        pytest.param(REPLAYS, "positive_data_acceptance", WEBHOOK, True, id="what is listed"),
        pytest.param(REPLAYS, "positive_data_acceptance", WEBHOOK + b"," + STATE, False, id="one fault more"),
        pytest.param(REPLAYS, "positive_data_acceptance", STATE, False, id="another fault"),
        pytest.param(REPLAYS, "status_code_conformance", WEBHOOK, False, id="another check"),
        pytest.param("GET /v1/meta", "positive_data_acceptance", WEBHOOK, False, id="another operation"),
        pytest.param(REPLAYS, "positive_data_acceptance", b"", False, id="no fault named"),
    ],
)
def test_an_exception_covers_its_operation_its_check_and_its_faults_alone(
    operation: str, check: str, fields: bytes, is_meant: bool
) -> None:
    found = Finding.of(operation, checks=(check,), message="refused", status=422, body=UNKNOWN % fields)

    assert found.is_meant(meant.read()) is is_meant
