"""Kinds of values that options take, beside click's own."""

from __future__ import annotations

from urllib.parse import urlsplit

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


class HttpUrlType(click.ParamType[str]):
    """`http://` or `https://`, host and port; without a slash at the end."""

    name = "url"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - click's
        """The form, for the help."""
        return "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Checks a URL; click tells the mistake with the option's name."""
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            self.fail("is not a URL like http://host:port, without user and password", param, ctx)
        return value.rstrip("/")
