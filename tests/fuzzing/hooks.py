"""What Schemathesis asks of us in a run: which failures are meant, and what must not be fuzzed away."""

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
# Where a run stands, as JSON: by name of a part of a path, what has to stay as it is and what may be spoilt instead.
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
    """Keep every failure that is not on the list of those that are meant."""
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
    """Keep a request from spoiling what the rest of the run stands on: its key, its organization, its repository."""
    del context, kwargs
    if case.method not in CHANGING or not case.path_parameters or not case.path.startswith("/v1/"):
        return
    for name, (kept, spare) in json.loads(os.environ.get(SPARED, "{}")).items():
        if case.path_parameters.get(name) == kept:
            case.path_parameters[name] = spare
