"""The command line: one file for what all commands share, the commands in `service` and `image`.

Exit status: 0 done, 1 it did not work (the reason is on standard error, in one line where possible), 2 the
command line or the settings are wrong, 3 verification failed.
"""

from __future__ import annotations

from pathlib import Path

import click

from registry_hook.cli import image, service


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; default: $DRAGONHOOK_CONFIG, else ./dragonhook.toml if it is there.",
)  # fmt: skip
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Makes the images of a registry start in seconds on thousands of nodes, and provably unaltered."""
    context.obj = config


main.add_command(service.serve)
main.add_command(service.web)
main.add_command(service.worker)
main.add_command(service.gateway)
main.add_command(service.backfill)
main.add_command(image.convert)
main.add_command(image.verify)
main.add_command(service.version)
