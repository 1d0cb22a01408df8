"""``docs/example.env`` shows every setting that an operator may set, with its default."""

import re

from hookhub.procfile import ROOT
from tests.unit.test_docs import SETTINGS

EXAMPLE = (ROOT / "docs" / "example.env").read_text()
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([^|]+) \|", re.MULTILINE)
LINE = re.compile(r"^(# )?([A-Z_]+)=(.*)$", re.MULTILINE)

# Left out on purpose: what docker-compose.yml sets itself, and what a deployment must not set.
SET_BY_COMPOSE = {"HOST", "PORT"}
FOR_DEVELOPMENT = {"HOOKHUB_HOME", "HOOKHUB_DEVELOPMENT", "HOOKHUB_DEBUG"}


def defaults() -> dict[str, str]:
    """Return the settings in the table, each with its documented default."""
    return {name: default.strip() for name, default in ROW.findall(SETTINGS)}


def test_every_setting_is_in_the_example_or_left_out_on_purpose() -> None:
    shown = {name for _, name, _ in LINE.findall(EXAMPLE)}
    of_compose = {name for name in shown if re.match(r"(POSTGRES|VALKEY|NGINX|PYTHON)_", name)}

    assert len(defaults()) >= 60
    assert defaults().keys() - shown == SET_BY_COMPOSE | FOR_DEVELOPMENT
    assert shown - of_compose - defaults().keys() == set()


def test_a_setting_that_is_commented_out_shows_its_default() -> None:
    said = defaults()
    wrong = {
        name: (value, said[name])
        for comment, name, value in LINE.findall(EXAMPLE)
        # Settings without a fixed default have an example value.
        if comment and name in said and re.fullmatch(r"`[^`<]+`", said[name]) and said[name] != f"`{value}`"
    }

    assert wrong == {}
