"""The HTTP front with small limits before an application that reports its input, which tests serve."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from hookhub.http.early_refusals import EarlyRefusal
from hookhub.server.body import Budget
from hookhub.server.front import Front
from hookhub.server.health import Readiness
from hookhub.server.limits import Limits
from hookhub.server.pool import Pool
from hookhub.server.prefix import mounted_front

LONG = 8 * 1024 * 1024


def tell(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the request's environ and the length of its body, or as its path says."""
    path = environ["PATH_INFO"]
    if path == "/long":
        start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(LONG))])
        return _pieces()
    while path == "/hold" and not Path(os.environ["RELEASE"]).exists():
        time.sleep(0.01)
    if path == "/fail":
        raise RuntimeError("as the test wants it")
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    told["body"] = len(environ["wsgi.input"].read())
    content = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


def _pieces() -> Iterator[bytes]:
    for _ in range(LONG // 65536):
        yield b"x" * 65536


def _refusal_of_caller(environ: Mapping[str, Any]) -> EarlyRefusal | None:
    is_known = environ.get("HTTP_AUTHORIZATION") == "Bearer known" or environ.get("HTTP_COOKIE") == "sessionid=known"
    return None if is_known else EarlyRefusal(401, "unauthenticated", "This API key is unknown.")


def _prepare() -> None:
    if "FAILS" in os.environ:
        raise RuntimeError(os.environ["FAILS"])


front = Front(
    tell,
    limits=Limits(
        publish=1_000_000, deadline=timedelta(seconds=float(os.environ.get("DEADLINE", "10"))), min_rate=1000
    ),
    pool=Pool(threads=2, max_waiting=10),
    budget=Budget(1_500_000),
    readiness=Readiness(lambda: (200, {"status": "ok"}), otherwise=(503, {"status": "unavailable"})),
    admit=_refusal_of_caller,
    prepare=_prepare,
)
if "LOADED" in os.environ:
    print("loaded", file=sys.stderr)
application = mounted_front(front, prefix=os.environ.get("PREFIX", ""))
