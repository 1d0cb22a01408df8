"""The packages of the SDKs hold what is needed besides the code."""

from tests.sdk import tools


def test_those_that_are_published_by_themselves_hold_the_licence() -> None:
    licence = (tools.ROOT / "LICENSE").read_text()
    [installed] = tools.installed_python().glob("hookhub_client-*.dist-info/licenses/LICENSE")

    assert installed.read_text() == licence
    # npm packs a file of this name, whatever else a package holds.
    assert (tools.TYPESCRIPT / "LICENSE").read_text() == licence
    assert (tools.PYTHON / "LICENSE").read_text() == licence
