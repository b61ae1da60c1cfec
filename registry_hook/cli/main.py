"""The command line: one group, whose commands are loaded when they are used."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Final

import click

_COMMANDS: Final = {
    "serve": "service", "web": "service", "worker": "service", "gateway": "service",
    "convert": "image", "verify": "image", "check": "check", "inspect": "inspect", "unpack": "unpack",
    "export": "export", "mount": "mount", "backfill": "service",
    "trace": "trace", "config": "config", "version": "service",
}  # fmt: skip


class _Commands(click.Group):
    """Loads the module of a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click calls it
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = getattr(import_module(f"registry_hook.cli.{_COMMANDS[cmd_name]}"), cmd_name)
        return command if isinstance(command, click.Command) else None


_STATUS: Final = """\b
Exit status:
  0  done
  1  it did not work; the reason is on standard error
  2  the command line or the settings are wrong
  3  of verify: verification failed; of check: there are differences
"""


@click.group(cls=_Commands, epilog=_STATUS, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; default: $DRAGONHOOK_CONFIG, else ./dragonhook.toml if it is there.",
)  # fmt: skip
@click.version_option(package_name="dragonhook", message="%(version)s")
@click.pass_context
def main(context: click.Context, config: Path | None) -> None:
    """Makes the images of a registry start in seconds on thousands of nodes, and provably unaltered."""
    context.obj = config
