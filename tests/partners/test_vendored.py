"""What is vendored from npm is what its package has."""

from hookhub.procfile import ROOT
from tests.partners import node

VENDORED = ROOT / "hookhub" / "static" / "hookhub" / "vendor"


def test_htmx_is_the_file_of_its_package() -> None:
    node.require()
    assert (VENDORED / "htmx.min.js").read_bytes() == (node.MODULES / "htmx.org/dist/htmx.min.js").read_bytes()
