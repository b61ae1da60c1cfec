"""`docs/settings.md` names every setting, with its default, and no other."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from registry_hook.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
_NAME = re.compile(r"`([a-z0-9_.]+)`")
_REQUIRED = "required"
_NO_DEFAULT = "none"


def defaults(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting by its dotted name, with what the page has to say of its default."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from defaults(field.annotation, f"{prefix}{name}.")
            continue
        if field.is_required():
            yield prefix + name, _REQUIRED
        elif field.default is None:
            yield prefix + name, _NO_DEFAULT
        else:
            value = str(field.default) if isinstance(field.default, Path) else field.default
            yield prefix + name, f"`{json.dumps(value)}`"
        yield from _of_tables(tables_in(field.annotation), f"{prefix}{name}.")


def _of_tables(tables: Sequence[type[BaseModel]], prefix: str) -> Iterator[tuple[str, str]]:
    """What the tables of an array may hold; a name of several kinds of table is one setting."""
    found: dict[str, list[str]] = {}
    for table in tables:
        for name, default in defaults(table, prefix):
            found.setdefault(name, []).append(default)
    for name, values in found.items():
        yield name, " or ".join(sorted(set(values)))


def tables_in(annotation: object) -> list[type[BaseModel]]:
    """The tables that an array of tables may consist of."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [table for part in get_args(annotation) for table in tables_in(part)]


def documented() -> list[tuple[str, str]]:
    """Names and defaults in the rows of the page's tables of settings."""
    found = []
    in_table = False
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not line.startswith("|"):
            in_table = False
        elif cells[:3] == ["Setting", "Type", "Default"]:
            in_table = True
        elif in_table and not set(line) <= set("|- "):
            assert len(cells) == 4, f"a row of {len(cells)} cells: {line}"
            found += [(name, cells[2]) for name in _NAME.findall(cells[0])]
    return found


def test_every_setting_is_documented_once_and_nothing_else_is() -> None:
    counted = Counter(name for name, _ in documented())
    assert counted == Counter(name for name, _ in defaults(Settings))


def test_each_default_is_the_real_one() -> None:
    assert dict(documented()) == dict(defaults(Settings))


def test_defaults_are_written_as_toml_has_them() -> None:
    for name, default in documented():
        if not set(default.split(" or ")) <= {_REQUIRED, _NO_DEFAULT}:
            assert "x" in tomllib.loads(f"x = {default.strip('`')}"), name
