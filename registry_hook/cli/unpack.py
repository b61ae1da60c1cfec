"""The command that unpacks a Nydus image."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from rich.console import Console

from converter.oci import Platform
from converter.unpack import UnpackReport
from converter.unpack import unpack as unpack_image
from registry_hook.cli.clients import Clients, client_options
from registry_hook.cli.errors import errors_in_one_line
from registry_hook.cli.parameters import PlatformType
from registry_hook.cli.progress import progress_bar
from registry_hook.transports import open_source
from registry_hook.way_back import open_nydus_image

_STATUS: Final = """\b
Exit status:
  0  done; what the rights did not suffice for is on standard error
  1  REF is damaged, or something cannot be read or written; what was made so far stays
  2  wrong command line: an option, REF or DIR
"""


@click.command(epilog=_STATUS)
@click.argument("reference", metavar="REF")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--platform", type=PlatformType(), help="Which image of an index.")
@client_options
def unpack(reference: str, directory: Path, platform: Platform | None, clients: Clients) -> None:
    """Unpack the files of the Nydus image REF into DIR, which must be empty or not exist.

    Every chunk is checked against its digest. As root everything is set: owners, devices, attributes, times.
    Without root, all that a user may set; the rest is counted and told.
    """
    with (
        errors_in_one_line(clients),
        open_source(reference, clients) as source,
        open_nydus_image(source, platform) as image,
        progress_bar(Console(stderr=True)) as progress,
    ):
        report = unpack_image(image, directory, progress)
    for line in describe(report):
        click.echo(line, err=True)
    click.echo(f"{report.names} names, {report.file_bytes} bytes of files in {directory}")


def describe(report: UnpackReport) -> list[str]:
    """What was left out, for people."""
    return [
        f"left out: {what} of {count} files, like {', '.join(report.examples[what])}"
        for what, count in sorted(report.left_out.items())
    ]
