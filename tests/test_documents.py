"""Records of decisions have their form and stand in the list, and pages name only files that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECORDS = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), *RECORDS]
_TITLE = re.compile(r"# (\d{4}): (.+)")
_PARTS = ["**Context.**", "**Decision.**", "**Rejected.**", "**Consequences.**"]
_LISTED = re.compile(r"^- \[(\d{4})\]\(([^)]+)\) (.+)$", re.MULTILINE)
_FILE = re.compile(r"`((?:docs|tests|docker|converter|signer|p2p_seed|registry_hook)/[\w./-]+)`")
_RECORD = re.compile(r"\badr/(\d{4})")


def title(record: Path) -> tuple[str, str, str]:
    """Number, file name and title of a record."""
    match = _TITLE.fullmatch(record.read_text().partition("\n")[0])
    assert match is not None, f"{record.name} does not begin with `# NNNN: title`"
    return match[1], record.name, match[2]


def test_the_list_has_every_record_with_its_title() -> None:
    listed = _LISTED.findall((ROOT / "docs/adr/README.md").read_text())
    assert listed == [title(record) for record in RECORDS], "add the record to docs/adr/README.md"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.stem)
def test_a_record_has_its_four_parts_in_order(record: Path) -> None:
    number, name, _ = title(record)
    assert name.startswith(f"{number}-")
    text = record.read_text()
    places = [text.find(part) for part in _PARTS]
    assert min(places) > 0, f"missing: {_PARTS[places.index(-1)]}"
    assert places == sorted(places)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_files_and_records_that_there_are(page: Path) -> None:
    text = page.read_text()
    numbers = {record.name[:4] for record in RECORDS}
    missing = [name for name in _FILE.findall(text) if not (ROOT / name).exists()]
    missing += [f"adr/{number}" for number in _RECORD.findall(text) if number not in numbers]
    assert not missing
