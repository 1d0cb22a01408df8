"""`make sbom` writes the components of a production installation in a machine-readable format."""

import json
import subprocess
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from hookhub.procfile import ROOT
from tests.unit.test_requirements import locked


def test_the_bill_of_materials_names_every_locked_package_with_its_version_and_a_hash(tmp_path: Path) -> None:
    written = tmp_path / "sbom.json"

    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "requirements", str(ROOT / "requirements.txt"), "-o", str(written)],
        check=True, capture_output=True,
    )  # fmt: skip

    components = json.loads(written.read_text())["components"]
    found = {canonicalize_name(one["name"]): one["version"] for one in components}
    assert found == {package: pin.version for package, pin in locked("requirements.txt").items()}
    assert all(one["externalReferences"][0]["hashes"] for one in components)
