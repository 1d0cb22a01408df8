"""The engine's errors in the language of a page: each is still one of the engine's, and stays the same in English."""

import ast
from functools import cache
from pathlib import Path

import pytest
from django.utils import translation

from hookhub.portal.engine_errors import ERRORS, NAMES, translated

ROOT = Path(__file__).parent.parent.parent
SOURCES = (
    "deliveries/webhooks",
    "deliveries/sending",
    "deliveries/formats",
    "deliveries/event_types",
    "deliveries/policy/filters.py",
    "deliveries/policy/rate_limits.py",
    "deliveries/plain_text.py",
    "deliveries/secret_text.py",
    "hookhub/alerts/channels.py",
    "hookhub/branding.py",
    "hookhub/event_types",
    "hookhub/http/test_events.py",
    "hookhub/portal/test_events.py",
)
# The engine puts it together from a phrase for each network.
COMPOSED = "it is in %(network)s"


@cache
def texts_of_the_engine() -> list[str]:
    files = [path for name in SOURCES for path in (ROOT / name, *(ROOT / name).rglob("*.py")) if path.is_file()]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    return [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]


@pytest.mark.parametrize("error", ERRORS)
def test_each_error_is_one_of_the_engine(error: str) -> None:
    # The place of an error in a filter is put before it, and the origin that is wrong after it.
    parts = NAMES.split(error.removeprefix("at %(path)s: ").removesuffix(": %(origin)s"))[::2]

    unknown = [part for part in parts if not any(part in text for text in texts_of_the_engine())]
    assert unknown == [] or COMPOSED in error


# label: (an error of the engine, the same in German)
GERMAN = {
    "constant": ("must be in the future", "muss in der Zukunft liegen"),
    "with a value": ("must be an integer from 1 to 1000", "muss eine ganze Zahl von 1 bis 1000 sein"),
    "with an error in it": (
        "the value of X-A is masked; send the value itself",
        "der Wert von X-A ist maskiert; geben Sie den Wert selbst an",
    ),
    "a percent sign in a value": ("'100 %(x)s' is not a number of seconds", "'100 %(x)s' ist keine Zahl von Sekunden"),
    "unknown": ("of a later version", "of a later version"),
}


@pytest.mark.parametrize(("error", "german"), GERMAN.values(), ids=GERMAN)
def test_an_error_is_translated_with_its_values(error: str, german: str) -> None:
    with translation.override("de"):
        assert translated(error) == german
    with translation.override("en"):
        assert translated(error) == error
