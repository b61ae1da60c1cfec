"""The command that turns what nydusd recorded into a trace."""

from __future__ import annotations

import os
from typing import BinaryIO, Final

import click

from converter.access_pattern import read_access_pattern
from converter.errors import UnsupportedImageError
from converter.nydus_image import NydusImage
from converter.oci import ImageManifest
from registry_hook.cli.clients import Clients, client_options
from registry_hook.cli.errors import errors_in_one_line
from registry_hook.transports import open_source

_MAX_PATTERN: Final = 1 << 28  # a million files take 100 MB


@click.command()
@click.argument("pattern", metavar="FILE", type=click.File("rb"))
@click.argument("reference", metavar="REF")
@client_options
def trace(pattern: BinaryIO, reference: str, clients: Clients) -> None:
    """Print the files that nydusd saw being read, in their order.

    FILE is what nydusd with `access_pattern` answers to /api/v1/metrics/pattern (- is standard input), and
    REF the Nydus image that it had mounted, named as for convert. The output is a trace for `convert
    --prefetch-trace`.
    """
    with errors_in_one_line(clients), open_source(reference, clients) as source:
        manifest = source.manifest()
        if not isinstance(manifest, ImageManifest):
            raise UnsupportedImageError(f"{manifest.digest} is an index; name the image that was mounted")
        bootstrap = NydusImage(source, manifest).layer.bootstrap
        for path in read_access_pattern(pattern.read(_MAX_PATTERN), bytes(bootstrap)):
            click.echo(os.fsencode(path))
