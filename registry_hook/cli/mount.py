"""The command that says how nydusd mounts a Nydus image, or lets it."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Final

import click

from converter.nydus_image import NydusImage
from converter.oci import Platform, Reference
from registry_hook.cli.clients import Clients, client_options
from registry_hook.cli.errors import errors_in_one_line
from registry_hook.cli.parameters import PlatformType
from registry_hook.mounting import PROGRAM, backend, can_validate, prepare_mount
from registry_hook.transports import open_source
from registry_hook.transports.location import Location, parse_location
from registry_hook.way_back import open_nydus_image

_STATUS: Final = """\b
Exit status:
  0  done; nydusd's command is on standard output (with --run: what nydusd ends with)
  1  REF is damaged, or something cannot be read or written; with --run: nydusd is not there
  2  wrong command line: an option, REF or DIR
"""


@click.command(epilog=_STATUS)
@click.argument("reference", metavar="REF")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option("--platform", type=PlatformType(), help="Which image of an index.")
@click.option(
    "--state-dir", type=click.Path(path_type=Path, file_okay=False),
    help="For the bootstrap, nydusd's configuration and its cache; default: DIR.nydusd",
)  # fmt: skip
@click.option(
    "--validate/--no-validate", default=None,
    help="Let nydusd check every chunk. Default: yes, but not with a registry that redirects, where every "
    "read would fail.",
)  # fmt: skip
@click.option("--run", is_flag=True, help="Become nydusd instead of printing its command.")
@client_options
def mount(
    reference: str,
    directory: Path,
    platform: Platform | None,
    state_dir: Path | None,
    validate: bool | None,
    run: bool,
    clients: Clients,
) -> None:
    """Print the command by which nydusd mounts the Nydus image REF on DIR.

    The bootstrap and a configuration for nydusd are written into the state directory. REF is oci:DIR:TAG or
    docker://HOST/REPOSITORY:TAG. Credentials are not written: a private registry needs `auth` in the
    configuration.
    """
    state = state_dir or directory.with_name(f"{directory.name}.nydusd")
    with errors_in_one_line(clients):
        place = parse_location(reference)
        tls = clients.uses_tls(place.host) if isinstance(place, Reference) else True
        blobs = backend(place, tls=tls)
        with open_source(reference, clients) as source, open_nydus_image(source, platform) as image:
            if validate is None:
                validate = _validates(image, place, clients)
            prepared = prepare_mount(image, blobs, directory, state, validate=validate)
    if not run:
        click.echo(shlex.join(prepared.command))
        return
    program = shutil.which(PROGRAM)
    if program is None:
        raise click.ClickException(
            f"{PROGRAM} is not in $PATH; its command is: {shlex.join(prepared.command)}"
        )
    with errors_in_one_line(clients):
        directory.mkdir(parents=True, exist_ok=True)
    os.execv(program, prepared.command)  # noqa: S606 - no shell is wanted


def _validates(image: NydusImage, place: Location, clients: Clients) -> bool:
    """Whether nydusd shall check chunks, where the user does not say it."""
    if not isinstance(place, Reference) or can_validate(image, clients(place.host), place.repository):
        return True
    click.echo(
        f"warning: nydusd will not check what it reads: {place.host} redirects, or does not tell the lengths "
        "of blobs, so that with --validate every read would fail",
        err=True,
    )
    return False
