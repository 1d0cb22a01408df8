"""Hooks for Schemathesis: which failures are accepted, and what a run must not change."""

import json
import os
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response

from tests.fuzzing import meant
from tests.fuzzing.meant import Finding

MEANT = meant.read()
# JSON by path parameter: the value that must be preserved, and the one to use instead in changing requests.
SPARED = "HOOKHUB_FUZZ_SPARED"
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

NDJSON = "application/x-ndjson"
_events = st.fixed_dictionaries(
    {
        "type": st.from_regex(r"[a-z_]{1,9}(\.[a-z_]{1,9})?", fullmatch=True),
        "data": st.none() | st.booleans() | st.text(),
    }
)
schemathesis.openapi.media_type(
    NDJSON, st.lists(_events, min_size=1, max_size=3).map(lambda rows: "\n".join(map(json.dumps, rows)).encode())
)


@schemathesis.hook
def filter_failure(context: Any, failure: Failure, case: Any, response: Response) -> bool:
    """Keep every failure that is not on the list of accepted exceptions."""
    del context
    found = Finding.of(
        case.operation.label,
        checks=failure.checks,
        message=failure.message,
        status=response.status_code,
        body=response.content,
    )
    return not found.is_meant(MEANT)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Redirect a request that would change what the whole run depends on: its key, its organization, its repository."""
    del context, kwargs
    if case.method not in CHANGING or not case.path_parameters or not case.path.startswith("/v1/"):
        return
    for name, (kept, spare) in json.loads(os.environ.get(SPARED, "{}")).items():
        if case.path_parameters.get(name) == kept:
            case.path_parameters[name] = spare
