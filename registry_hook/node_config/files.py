"""What a generator gives: files with their places, and what to do with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import PurePosixPath
from textwrap import wrap
from typing import Final

_COMMENT_WIDTH: Final = 100


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file for some machine.

    Args:
        path: where it belongs, absolute.
        content: what goes into it, without comments that say where it belongs.
        about: what it is and what to do next, one sentence or command a line.
        part: whether it is only a part of a file that is there already.
        private: whether it holds a secret, so that only its owner may read it.
    """

    path: PurePosixPath
    content: str
    about: tuple[str, ...]
    part: bool = False
    private: bool = False

    @property
    def has_comments(self) -> bool:
        """Whether its format knows comments; JSON does not."""
        return self.path.suffix != ".json"

    @property
    def comment(self) -> str:
        """Where it belongs and what to do next, as comment lines."""
        place = f"Part of {self.path}: put it into the file that is there." if self.part else f"{self.path}"
        lines = [line for text in (place, *self.about) for line in _wrapped(text)]
        return "".join(f"# {line}".rstrip() + "\n" for line in lines)

    @property
    def text(self) -> str:
        """The whole file, with its comment if the format knows any."""
        return f"{self.comment}\n{self.content}" if self.has_comments else self.content


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """All that one program needs.

    Args:
        files: its files, the most important first.
    """

    files: tuple[ConfigFile, ...]


def quoted(text: str) -> str:
    """A string as YAML, TOML and JSON alike write it, between double quotes."""
    return json.dumps(text)


def pretty_json(value: object) -> str:
    """A JSON file."""
    return json.dumps(value, indent=2) + "\n"


def _wrapped(text: str) -> list[str]:
    # Commands, which are indented, stay on one line, so that they can be copied.
    return [text] if text.startswith(" ") else wrap(text, _COMMENT_WIDTH, break_on_hyphens=False)
