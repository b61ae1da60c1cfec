"""Images of a local container engine: `docker-daemon:NAME[:TAG]`, by the docker package.

Docker's own API, which podman speaks too. The engine is found as the docker command finds it: by DOCKER_HOST,
DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, else at /var/run/docker.sock. It exports the image as one stream in
whatever order it likes, so that is kept on the disk while the image is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Final

import requests
from docker.errors import DockerException, NotFound

import docker
from registry_hook.transports.docker_archive import DockerArchiveSource
from registry_hook.transports.errors import EngineError, NoSuchImageError
from registry_hook.transports.members import TarMembers
from registry_hook.transports.protocols import ImageSource

# podman packs the whole image before it sends the first byte.
_TIMEOUT_S: Final = 1800
_CHUNK_BYTES: Final = 1 << 20


@contextmanager
def open_engine_image(name: str, work_dir: Path | None) -> Iterator[ImageSource]:
    """Exports an image and opens it; what was exported is removed when the context ends.

    Args:
        name: name with tag or digest, or an image id.
        work_dir: where to keep it meanwhile; None takes the system's temporary directory.

    Raises:
        NoSuchImageError: the engine has no such image.
        EngineError: there is no engine, or it failed.
        InvalidLayoutError: the engine exported something else than an image.
        OSError: the directory cannot be written to.
    """
    with TemporaryDirectory(prefix="dragonhook-", dir=work_dir) as directory:
        archive = Path(directory) / "image.tar"
        with archive.open("wb") as file:
            _export(name, file)
        yield DockerArchiveSource(TarMembers(archive, follow_links=True))


def _export(name: str, file: BinaryIO) -> None:
    try:
        client = docker.from_env(timeout=_TIMEOUT_S)  # which asks for the version of the API
    except (DockerException, requests.RequestException, ValueError) as error:
        raise EngineError(
            "no container engine answers where DOCKER_HOST says, or at /var/run/docker.sock if it is not "
            f"set: {_reason(error)}"
        ) from error
    written = False
    try:
        with closing(client) as engine:
            for piece in engine.api.get_image(name, chunk_size=_CHUNK_BYTES):
                written = True
                file.write(piece)
    except NotFound as error:
        raise NoSuchImageError(f"the container engine has no image {name}") from error
    except (DockerException, requests.RequestException) as error:
        what = "broke off the export of" if written else "cannot give"
        raise EngineError(f"the container engine {what} {name}: {error}") from error


def _reason(error: BaseException) -> str:
    """What the system said, which lies below the messages of three libraries."""
    deepest: BaseException | None = error
    while deepest is not None:
        if isinstance(deepest, OSError) and deepest.strerror:
            return deepest.strerror
        deepest = deepest.__cause__ or deepest.__context__
    return str(error)
