"""The documents say what the program does."""

import re
import tomllib
from pathlib import Path

import pytest

from mediakeep.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent


def test_every_setting_is_documented_with_its_default_and_meaning():
    documented = (ROOT / "docs" / "settings.md").read_text()
    for name, field in Settings.model_fields.items():
        row = next((line for line in documented.splitlines() if f"`{PREFIX}{name.upper()}`" in line), "")
        assert field.description in row, f"run tools/settings: {name}"


def test_no_setting_is_documented_that_does_not_exist():
    documented = (ROOT / "docs" / "settings.md").read_text() + (ROOT / "README.md").read_text()
    named = set(re.findall(rf"{PREFIX}([A-Z_]+)", documented)) - {"CONFIG"}
    assert named <= {name.upper() for name in Settings.model_fields}


def test_every_direct_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    reasons = (ROOT / "docs" / "dependencies.md").read_text().lower()
    wanted = project["project"]["dependencies"] + [
        one for group in project["dependency-groups"].values() for one in group
    ]
    for requirement in wanted:
        name = re.split(r"[<>=\[]", requirement)[0]
        assert re.search(rf"\b{re.escape(name)}\b", reasons), name


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name
)
def test_links_between_documents_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#:\s]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_no_lock_file_names_a_registry():
    for lock in [*(ROOT / "requirements").glob("*.txt"), ROOT / "tests" / "servers" / "package-lock.json"]:
        assert not re.search(r"https?://[^\s\"]*(registry|pypi|pythonhosted)", lock.read_text()), lock
