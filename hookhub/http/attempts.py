"""How payloads and receivers' responses are shown, in every API."""

import json
import math
from typing import Any

from deliveries.models import Attempt


def read_payload(payload: bytes) -> Any:
    """Parse a payload for display; a number beyond the range of a double is returned as its text."""

    def number(text: str) -> float | str:
        return value if math.isfinite(value := float(text)) else text

    return json.loads(payload, parse_float=number)


def response_of(attempt: Attempt) -> dict[str, str] | None:
    """Return the headers and the body of the receiver's response as text, or None if there was none."""
    if attempt.status is None:
        return None
    # Shown as text whatever it is: a receiver's response must never be rendered.
    text = bytes(attempt.response_body).decode("utf-8", "backslashreplace").replace("\0", "\\x00")
    return {"headers": attempt.response_headers, "body": text}
