"""How generated files are shown or written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from registry_hook.cli.errors import WrongCommandLine
from registry_hook.node_config import ConfigFile, NodeConfig

_F = TypeVar("_F", bound=Callable[..., Any])


def output_options(command: _F) -> _F:
    """Adds --output, --file and --force."""
    command = click.option(
        "--force", is_flag=True, help="With --output: replace whole files that are there."
    )(command)
    command = click.option(
        "--file", metavar="NAME", help="Print this one of several files alone, so that it can be redirected."
    )(command)
    return click.option(
        "--output", metavar="DIR", type=click.Path(path_type=Path, file_okay=False),
        help="Write the files below DIR instead, each at its place: / is where they belong.",
    )(command)  # fmt: skip


def show(generated: NodeConfig, *, output: Path | None, name: str | None, force: bool) -> None:
    """Prints or writes what was generated.

    Args:
        generated: the files.
        output: the directory that stands for the root; None prints.
        name: the only file that is wanted, by the end of its path.
        force: replace files that are there.

    Raises:
        click.ClickException: no such file, or it cannot be written.
    """
    files = generated.files if name is None else (_named(generated, name),)
    if output is not None:
        _write_all(files, output, force=force)
    elif len(files) == 1:
        _print_one(files[0])
    else:
        click.echo("\n\n".join(_for_reading(file) for file in files), nl=False)


def _named(generated: NodeConfig, name: str) -> ConfigFile:
    found = [file for file in generated.files if f"{file.path}".endswith(f"/{name.lstrip('/')}")]
    if len(found) != 1:
        names = ", ".join(file.path.name for file in generated.files)
        raise WrongCommandLine(f"--file: {name} is not one of these files: {names}")
    return found[0]


def _print_one(file: ConfigFile) -> None:
    """The file alone on standard output, so that it can be redirected; JSON has its comment elsewhere."""
    if not file.has_comments:
        click.echo(file.comment, err=True)
    click.echo(file.text, nl=False)


def _for_reading(file: ConfigFile) -> str:
    return file.text if file.has_comments else f"{file.comment}\n{file.content}"


def _write_all(files: tuple[ConfigFile, ...], root: Path, *, force: bool) -> None:
    targets = [(file, root / file.path.relative_to("/")) for file in files]
    differing = {target for file, target in targets if _differs(file, target)}
    spoiled = [target for file, target in targets if target in differing and not file.part]
    if spoiled and not force:
        raise click.ClickException(f"{spoiled[0]} is there and says something else; --force replaces it")
    for file, target in targets:
        if file.part and target in differing:
            name = f"{file.path.parent.name}/{file.path.name}"
            click.echo(f"NOT WRITTEN: {target} is there; put into it what --file {name} prints\n", err=True)
            continue
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write(target, file)
        except OSError as error:
            raise click.ClickException(f"cannot write {target}: {error.strerror}") from error
        click.echo(str(target))
        click.echo(file.comment, err=True)


def _differs(file: ConfigFile, target: Path) -> bool:
    """Whether something else is there already."""
    return target.exists() and target.read_text(errors="replace") != file.text


def _write(target: Path, file: ConfigFile) -> None:
    partial = target.with_name(f".{target.name}.new")
    partial.unlink(missing_ok=True)
    mode = 0o600 if file.private else 0o644
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as stream:
        stream.write(file.text)
        os.fsync(stream.fileno())
    partial.rename(target)
