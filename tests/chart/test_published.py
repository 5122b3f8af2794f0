"""What a published chart tells Artifact Hub of itself: valid, and what the changelog and the chart say."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART
from tests.conftest import ROOT

# As artifacthub.io/docs/topics/annotations/helm lists them.
CATEGORIES = {
    "ai-machine-learning",
    "database",
    "integration-delivery",
    "monitoring-logging",
    "networking",
    "security",
    "skip-prediction",
    "storage",
    "streaming-messaging",
}
KINDS = {"added", "changed", "deprecated", "removed", "fixed", "security"}


@pytest.fixture(scope="module")
def chart() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def about(chart: dict[str, Any]) -> dict[str, Any]:
    """Artifact Hub's annotations; a list or a boolean is YAML in a string."""
    texts = {
        name.partition("/")[2]: text for name, text in chart["annotations"].items() if name.startswith("artifacthub")
    }
    assert all(isinstance(text, str) for text in texts.values())
    return {name: yaml.safe_load(text) for name, text in texts.items()}


def newest_version() -> str:
    """The newest version's part of the changelog, its lines as one."""
    return " ".join(re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[1].split())


def test_licence_category_and_flags_are_what_artifact_hub_knows(about: dict[str, Any]) -> None:
    assert about["license"] == "Apache-2.0"
    assert about["category"] in CATEGORIES
    assert about["prerelease"] is False and about["containsSecurityUpdates"] is False


def test_the_image_is_that_of_the_apps_version(chart: dict[str, Any], about: dict[str, Any]) -> None:
    assert chart["version"] == chart["appVersion"]
    (image,) = about["images"]
    assert image["name"] == chart["name"]
    assert re.fullmatch(r"[a-z0-9./-]+/verger:" + re.escape(chart["appVersion"]), image["image"])


def test_links_have_names_and_those_into_this_repository_lead_to_a_file(about: dict[str, Any]) -> None:
    for link in about["links"]:
        assert set(link) == {"name", "url"} and link["url"].startswith("https://")
        _, ours, path = link["url"].partition("/verger/verger/blob/main/")
        assert not ours or (ROOT / path).is_file()


def test_the_changes_are_those_of_the_changelogs_newest_version(chart: dict[str, Any], about: dict[str, Any]) -> None:
    newest = newest_version()
    assert chart["version"] in newest[: newest.index("###")]
    assert about["changes"]
    for change in about["changes"]:
        assert set(change) == {"kind", "description"} and change["kind"] in KINDS
        assert change["description"][1:] in newest  # it begins with a capital
    assert len(about["changes"]) == len(re.findall(r"- Chart: |- `charts/verger`", newest))


def test_a_release_writes_its_own_registry_into_the_annotation() -> None:
    script = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    ((pattern, replacement),) = re.findall(r'sed -i "s\|(image: [^|]*)\|(image: [^|]*)\|"', script)
    replacement = replacement.replace("$IMAGE_REPOSITORY", "r.example/o/verger")
    text, count = re.subn(pattern, replacement, (CHART / "Chart.yaml").read_text())
    assert count == 1
    assert "image: r.example/o/verger:" in text
