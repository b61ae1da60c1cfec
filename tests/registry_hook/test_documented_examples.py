"""What README and docs tell people to write and to type is what the program takes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import pytest

from registry_hook.cli import main
from registry_hook.settings import CONFIG_VARIABLE, ENVIRONMENT_PREFIX, Settings, load

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "ARCHITECTURE.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(ROOT.glob("docs/*.md")),
]
_FENCED = re.compile(r"^```([a-z]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"(?:^(?: {4,}.*)?\n)+", re.MULTILINE)
_INLINE = re.compile(r"`(dragonhook [^`\n]+)`")
_TABLE_OF_TOML = re.compile(r"\[[a-z_.]+\]$")
_LINE_OF_TOML = re.compile(r"[a-z_]+ = ")
_VARIABLE = re.compile(rf"\b{ENVIRONMENT_PREFIX}[A-Z0-9_]*[A-Z0-9]\b")


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """The code blocks of a page with their language; indented ones have none."""
    text = page.read_text()
    for match in _FENCED.finditer(text):
        yield match[1], match[2]
    for match in _INDENTED.finditer(_FENCED.sub("\n", text)):
        if match[0].strip():
            yield "", dedent(match[0]).strip("\n") + "\n"


def toml_examples() -> list[tuple[str, str]]:
    """Blocks that are settings, by their language or by their look."""
    found = []
    for page in PAGES:
        for language, text in blocks(page):
            first = text.splitlines()[0]
            if language == "toml" or (
                not language and (_TABLE_OF_TOML.match(first) or _LINE_OF_TOML.match(first))
            ):
                found.append((page.name, text))
    return found


def commands() -> list[tuple[str, str]]:
    """Every `dragonhook …` in a code block or between backquotes."""
    found = []
    for page in PAGES:
        text = page.read_text()
        found += [(page.name, match[1]) for match in _INLINE.finditer(text)]
        for _, block in blocks(page):
            joined = block.replace("\\\n", " ")
            lines = [line.strip().removeprefix("$ ") for line in joined.splitlines()]
            found += [(page.name, line) for line in lines if line.startswith("dragonhook ")]
    return found


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith(ENVIRONMENT_PREFIX):
            monkeypatch.delenv(name)


def test_there_are_examples_to_test() -> None:
    pages = {page for page, _ in toml_examples()}
    assert {"README.md", "settings.md", "operation.md"} <= pages
    assert len(commands()) > 10


@pytest.mark.parametrize(("page", "text"), toml_examples())
def test_settings_can_be_loaded(page: str, text: str, tmp_path: Path) -> None:
    values = tomllib.loads(text)
    values.setdefault("registry", {}).setdefault("url", "https://registry.example")  # for excerpts
    Settings(**_with_secrets(values, tmp_path / "secret"))


def _with_secrets(table: dict[str, Any], secret: Path) -> dict[str, Any]:
    """Puts a file that is there for each secret's file, since settings read some to check them."""
    secret.write_text("postgresql://user@host/database\n")
    return {
        name: _with_secrets(value, secret)
        if isinstance(value, dict)
        else (str(secret) if name.endswith("_file") else value)
        for name, value in table.items()
    }


def test_the_readme_file_is_taken_as_it_stands(tmp_path: Path) -> None:
    texts = [text for page, text in toml_examples() if page == "README.md"]
    path = tmp_path / "dragonhook.toml"
    path.write_text(texts[0])
    settings = load(path)
    assert settings.gateway.origin is not None
    assert settings.gateway.closed_network
    assert not settings.web.listen.startswith("127."), "the registry is another machine there"


@pytest.mark.parametrize(("page", "command"), commands())
def test_commands_are_taken_by_the_command_line(page: str, command: str, tmp_path: Path) -> None:
    # `[--deep]` and the like are optional parts, `FILE` and the like stand for values.
    words = shlex.split(command.replace("[", "").replace("]", ""), comments=True)[1:]
    (tmp_path / "FILE").touch()
    with contextlib.suppress(click.exceptions.Exit):  # of --help and --version
        group = main.make_context("dragonhook", words)
        given = [*group._protected_args, *group.args]
        if not given:  # an option of the group alone
            return
        name, subcommand, rest = main.resolve_command(group, given)
        assert subcommand is not None
        if not _names_it_only(subcommand, rest):
            subcommand.make_context(name, rest, parent=group)


def _names_it_only(subcommand: click.Command, rest: list[str]) -> bool:
    """Whether a sentence names a command, perhaps with an option, and gives no arguments."""
    arguments = [p for p in subcommand.params if isinstance(p, click.Argument)]
    options = {name for p in subcommand.params for name in (*p.opts, *p.secondary_opts)} | {"--help"}
    return bool(arguments) and all(word in options for word in rest)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_variables_are_settings(page: Path) -> None:
    for variable in _VARIABLE.findall(page.read_text()):
        if variable == CONFIG_VARIABLE:
            continue
        field_type: object = Settings
        for part in variable.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"):
            fields = getattr(field_type, "model_fields", {})
            assert part in fields, f"{variable} is not a setting"
            field_type = fields[part].annotation


def test_json_examples_are_json() -> None:
    examples = [text for page in PAGES for language, text in blocks(page) if language == "json"]
    assert examples
    for text in examples:
        json.loads(text)
