"""The command `dragonhook`."""

from registry_hook.cli.main import main

__all__ = ["main"]
