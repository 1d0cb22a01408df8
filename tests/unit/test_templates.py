"""The templates of the pages: what every one of them must have for people that use no mouse, or no screen."""

import re
from pathlib import Path

import pytest

from hookhub.procfile import ROOT

OF_HOOKHUB = ROOT / "hookhub" / "templates" / "hookhub"
# Those of e-mails are no pages.
TEMPLATES = [each for each in sorted(OF_HOOKHUB.rglob("*.html")) if each != OF_HOOKHUB / "alert.html"]
SCROLLS = re.compile(r'<(?:pre|div[^>]*class="(?:hh-)?scroll")(?:[^>{]|{%.*?%}|{{.*?}})*>', re.DOTALL)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(OF_HOOKHUB)))
def test_what_scrolls_is_reached_by_the_keyboard_and_has_a_name(template: Path) -> None:
    found = SCROLLS.findall(template.read_text())

    # A preformatted text is read as what it is; of a table's frame, a screen reader says nothing but its name.
    assert [tag for tag in found if 'tabindex="0"' not in tag] == []
    assert [tag for tag in found if "<div" in tag and not ('role="region"' in tag and "aria-label=" in tag)] == []
