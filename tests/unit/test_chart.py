"""The Helm chart and the units of systemd name settings that exist, and the chart's values fit their schema."""

import json
import re

import jsonschema
import pytest
import yaml

from hookhub.procfile import ROOT

CHART = ROOT / "deploy" / "helm" / "hookhub"
KNOWN = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs" / "settings.md").read_text(), re.MULTILINE))
NEEDED = {"image": {"repository": "hookhub"}, "publicUrl": "https://hooks.example.org", "existingSecret": "hookhub"}


def test_the_defaults_fit_the_schema_but_for_what_has_to_be_given() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate({**values, **NEEDED}, schema)
    for name in ("publicUrl", "existingSecret"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**values, **NEEDED, name: ""}, schema)


def test_every_setting_that_the_chart_sets_exists() -> None:
    texts = [path.read_text() for path in CHART.rglob("*") if path.is_file()]
    named = {name for text in texts for name in re.findall(r"\b(?:HOOKHUB|WEB)_[A-Z_]+\b", text)}

    assert named - KNOWN == set()
    assert {"HOOKHUB_PUBLIC_URL", "HOOKHUB_METRICS_PORT", "WEB_WORKERS"} <= named


def test_the_charts_versions_are_those_of_the_code() -> None:
    found = yaml.safe_load((CHART / "Chart.yaml").read_text())

    version = re.search(r'^VERSION = "(.*)"', (ROOT / "deliveries" / "version.py").read_text(), re.MULTILINE)
    assert version is not None
    assert found["appVersion"] == version[1]
