"""Kinds of values that options take, beside click's own."""

from __future__ import annotations

import click

from converter.oci import Platform
from converter.platforms import parse_platform


class PlatformType(click.ParamType[Platform]):
    """`linux/amd64` and the like."""

    name = "platform"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's
        """The form, for the help."""
        return "OS[(VERSION)]/ARCH[/VARIANT]"

    def convert(
        self, value: str | Platform, param: click.Parameter | None, ctx: click.Context | None
    ) -> Platform:
        """Reads a platform; click tells the mistake with the option's name."""
        if isinstance(value, Platform):
            return value
        try:
            return parse_platform(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
