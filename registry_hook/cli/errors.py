"""How commands tell what went wrong: in one line, with an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from converter.chunk_manifest import ChunkManifestError
from converter.errors import ConvertError
from converter.oci import OciError
from registry_hook.cli.clients import Clients
from registry_hook.registry import RegistryError
from registry_hook.transports import InvalidLocationError, TransportError
from signer.errors import KeyFileError, SignerError


class WrongCommandLine(click.ClickException):
    """What the user wrote cannot be meant."""

    exit_code = 2


@contextmanager
def errors_in_one_line(clients: Clients) -> Iterator[None]:
    """Turns errors of the libraries into click's, with advice where there is some."""
    try:
        yield
    except (InvalidLocationError, KeyFileError) as error:
        raise WrongCommandLine(one_line(error)) from error
    except BrokenPipeError:
        raise  # nobody reads our output any more, which click ends quietly
    except (
        ConvertError, RegistryError, TransportError, OciError, SignerError, ChunkManifestError, OSError,
    ) as error:  # fmt: skip
        raise click.ClickException(one_line(error) + clients.advice(error)) from error


def one_line(error: Exception) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())
