"""The command that compares an image with its conversion."""

from __future__ import annotations

from typing import BinaryIO, Final

import click
from rich.console import Console

from converter.oci import Platform
from converter.options import PREFETCH_ALL, check_prefetch_path
from converter.prefetch import TraceError, read_trace
from registry_hook.checking import Checked, check_one
from registry_hook.cli.clients import Clients, client_options
from registry_hook.cli.errors import errors_in_one_line
from registry_hook.cli.parameters import PlatformType
from registry_hook.cli.progress import progress_bar
from registry_hook.transports import open_source

DIFFERENT: Final = 3
_SHOWN_PATHS: Final = 10
_STATUS: Final = """\b
Exit status:
  0  DST is the right conversion of SRC, to the last byte
  1  not compared: SRC is damaged, or something cannot be read
  2  wrong command line: an option, SRC or DST
  3  there are differences; the first ones are on standard output
"""


@click.command(epilog=_STATUS)
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@click.option(
    "--prefetch", multiple=True, metavar="PATH",
    help="As it was given to the conversion. Default: what DST lists.",
)  # fmt: skip
@click.option(
    "--prefetch-trace", type=click.File("rb"), metavar="FILE", help="As it was given to the conversion."
)
@click.option(
    "--platform", "platforms", multiple=True, type=PlatformType(),
    help="As it was given to the conversion.",
)  # fmt: skip
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="Lines an image.")
@client_options
def check(
    source: str,
    target: str,
    prefetch: tuple[str, ...],
    prefetch_trace: BinaryIO | None,
    platforms: tuple[Platform, ...],
    limit: int,
    clients: Clients,
) -> None:
    """Compare the image SRC with its conversion DST: metadata, and every byte of every file.

    Both are named as for convert. The layers of SRC are merged as a container engine would, and DST is read
    back from its stored bytes. Needs no root and no space: nothing is unpacked.
    """
    try:
        if prefetch_trace is not None:
            prefetch += read_trace(prefetch_trace)
        for path in prefetch:
            check_prefetch_path(path)
    except (TraceError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    differs = False
    with (
        errors_in_one_line(clients),
        open_source(source, clients) as image,
        open_source(target, clients) as made,
        progress_bar(Console(stderr=True)) as progress,
    ):
        for checked in check_one(image, made, prefetch or None, progress, platforms):
            differs |= checked.report.count > 0
            _print(checked, limit)
            if not prefetch and checked.report.prefetch not in ((), PREFETCH_ALL):
                click.echo(f"{checked.name}: prefetch list taken from DST: {_few(checked.report.prefetch)}")
    if differs:
        raise SystemExit(DIFFERENT)


def _print(checked: Checked, limit: int) -> None:
    report = checked.report
    for line in report.lines[:limit]:
        click.echo(f"{checked.name}: {line}")
    if report.count > limit:
        click.echo(f"{checked.name}: … and {report.count - limit} more")
    read = f"{report.names} names, {report.file_bytes} bytes of files, {report.blob_bytes} bytes of blobs"
    verdict = f"{report.count} differences" if report.count else "the same"
    click.echo(f"{checked.name}: {verdict} ({read})")


def _few(paths: tuple[str, ...]) -> str:
    more = f" and {len(paths) - _SHOWN_PATHS} more" if len(paths) > _SHOWN_PATHS else ""
    return " ".join(paths[:_SHOWN_PATHS]) + more
