"""What a release consists of agrees with itself: one version in all files, and the files that a source distribution needs."""

import re
import tomllib

from blocks import ROOT


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_version_is_the_same_everywhere() -> None:
    version = project()["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r'^version: "(.*)"$', citation, re.MULTILINE) == [version]
    assert re.findall(r"^## ([0-9.]+) \(", changes, re.MULTILINE)[0] == version


def test_the_release_is_dated_as_in_the_change_log() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    (date,) = re.findall(r'^date-released: "(.*)"$', citation, re.MULTILINE)
    assert re.findall(r"^## [0-9.]+ \((.*)\)$", changes, re.MULTILINE)[0] == date


def test_every_file_of_the_source_distribution_is_there() -> None:
    included = re.findall(r"^include (.*)$", (ROOT / "MANIFEST.in").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for line in included for name in line.split() if not (ROOT / name).is_file()] == []
