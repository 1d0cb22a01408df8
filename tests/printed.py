"""Reads the commands and files that the documentation prints."""

import re

from hookhub.procfile import ROOT


def blocks_below(document: str, heading: str) -> list[str]:
    """Return the code blocks of a section, with the paths that readers replace; fail if there are none."""
    text = (ROOT / document).read_text()
    section = text.partition(f"\n{heading}\n")[2]
    level = heading.partition(" ")[0]
    section = re.split(rf"^{level} ", section, maxsplit=1, flags=re.MULTILINE)[0]
    found: list[str] = re.findall(r"^```\w*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert found, f"{document} prints nothing below {heading!r}"
    return found
