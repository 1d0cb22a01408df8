"""Adds examples to the OpenAPI document: calls that a test makes, and answers that the API gives to them."""

import json
from pathlib import Path
from typing import Any

from hookhub.descriptions.corrections import Document

# Written by the test that makes the calls (tests/api_story.py), and compared with each of its runs.
FILE = Path(__file__).with_name("examples.json")
ERRORS = Path(__file__).with_name("error_examples.json")


def add_examples(result: Document, **_: Any) -> Document:
    """Add an example to each body of a request and of a successful answer, and to each error that operations share."""
    for label, example in json.loads(FILE.read_bytes()).items():
        method, path = label.split()
        operation = result["paths"][path][method.lower()]
        for media_type, value in example["requests"].items():
            operation["requestBody"]["content"][media_type]["example"] = value
        if response := example.get("response"):
            for content in operation["responses"][response["status"]]["content"].values():
                content["example"] = response["value"]
    for name, body in json.loads(ERRORS.read_bytes()).items():
        for media_type, content in result["components"]["responses"][name]["content"].items():
            if media_type.endswith("json"):
                content["example"] = body
    return result
