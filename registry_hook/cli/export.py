"""The command that makes a plain image of a Nydus image."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
from rich.console import Console

from converter.oci import Platform
from registry_hook.cli.clients import Clients, client_options
from registry_hook.cli.errors import errors_in_one_line
from registry_hook.cli.parameters import PlatformType
from registry_hook.cli.progress import progress_bar
from registry_hook.transports import open_sink, open_source
from registry_hook.way_back import export_one

_DIRECTORY: Final = click.Path(path_type=Path, exists=True, file_okay=False, writable=True)
_STATUS: Final = """\b
Exit status:
  0  done; the digest of the plain image is on standard output
  1  REF is damaged or holds what no layer can, or something cannot be read or written
  2  wrong command line: an option, REF or DST
"""


@click.command(epilog=_STATUS)
@click.argument("reference", metavar="REF")
@click.argument("destination", metavar="DST")
@click.option("--platform", type=PlatformType(), help="Which image of an index.")
@click.option("--work-dir", type=_DIRECTORY, help="For the layer meanwhile; default: $TMPDIR, else /tmp.")
@client_options
def export(
    reference: str, destination: str, platform: Platform | None, work_dir: Path | None, clients: Clients
) -> None:
    """Turn the Nydus image REF back into a plain OCI image DST, which unpacks to the same files.

    DST is named as for convert. The result has one layer, the config of the source and its history. The same
    image gives the same bytes.
    """
    with (
        errors_in_one_line(clients),
        open_source(reference, clients) as source,
        open_sink(destination, clients) as sink,
        progress_bar(Console(stderr=True)) as progress,
    ):
        exported = export_one(source, sink, platform, progress, work_dir)
    click.echo(str(exported.digest))
