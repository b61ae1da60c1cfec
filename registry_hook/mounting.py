"""What nydusd needs to mount an image: its configuration, the bootstrap, and its command line.

nydusd is set up in one way: every chunk is checked by `cache.validate` where that works (`rafs.validate`
makes mounts of RAFS v6 fail in 2.2), and nothing is fetched that is not asked for.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from converter.nydus_image import NydusImage
from converter.oci import Reference
from registry_hook.registry import RegistryClient
from registry_hook.transports import InvalidLocationError
from registry_hook.transports.files import atomic_file
from registry_hook.transports.location import LayoutLocation, Location

PROGRAM: Final = "nydusd"
_CACHE_SUFFIX: Final = b".blob.meta"
_LAYOUT_BLOBS: Final = "blobs/sha256"


@dataclass(frozen=True, slots=True)
class NydusdMount:
    """A mount that nydusd can make.

    Args:
        command: the command line, which runs until the mount ends.
        configuration: what its configuration file says.
    """

    command: tuple[str, ...]
    configuration: dict[str, Any]


def backend(place: Location, *, tls: bool) -> dict[str, Any]:
    """Nydusd's backend for the place of an image.

    Raises:
        InvalidLocationError: nydusd cannot read blobs there.
    """
    if isinstance(place, Reference):
        registry = {"scheme": "https" if tls else "http", "host": place.host, "repo": place.repository}
        return {"type": "registry", "registry": registry}
    if not isinstance(place, LayoutLocation) or place.is_archive:
        raise InvalidLocationError("nydusd reads blobs of oci:DIR or docker://HOST/REPOSITORY only")
    # A layout names blobs by their digits, as nydusd wants them.
    return {"type": "localfs", "localfs": {"dir": str((place.path / _LAYOUT_BLOBS).resolve())}}


def prepare_mount(
    image: NydusImage, blobs: dict[str, Any], mountpoint: Path, state: Path, *, validate: bool
) -> NydusdMount:
    """Writes what nydusd reads.

    Args:
        image: what to mount.
        blobs: as `backend` gave it.
        mountpoint: where.
        state: a directory for the bootstrap, the configuration and the cache.
        validate: let nydusd check each chunk.

    Raises:
        InvalidLocationError: something is mounted there already.
        OSError: the directory cannot be written to.
    """
    if os.path.ismount(mountpoint):
        problem = "unmount it first, or name another directory"
        raise InvalidLocationError(f"something is mounted on {mountpoint}: {problem}")
    cache = state.resolve() / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name, content in image.layer.others.items():
        if name.endswith(_CACHE_SUFFIX):
            # nydusd fetches a chunk info table that is not there.
            _write(cache / name.rpartition(b"/")[2].decode("ascii"), content)
    bootstrap, config = state.resolve() / "image.boot", state.resolve() / "nydusd.json"
    _write(bootstrap, image.layer.bootstrap)
    configuration = {
        "version": 2,
        "id": image.manifest.digest.hex,
        "backend": blobs,
        "cache": {
            "type": "blobcache",
            "validate": validate,
            "filecache": {"work_dir": str(cache)},
            "prefetch": {"enable": False},
        },
        "rafs": {"mode": "direct", "enable_xattr": True, "validate": False, "prefetch": {"enable": False}},
    }
    _write(config, json.dumps(configuration, indent=2).encode() + b"\n")
    command = (
        PROGRAM, "fuse", "--mountpoint", str(mountpoint.resolve()), "--bootstrap", str(bootstrap),
        "--config", str(config), "--rlimit-nofile", "0", "--log-level", "info",
    )  # fmt: skip
    return NydusdMount(command, configuration)


def can_validate(image: NydusImage, client: RegistryClient, repository: str) -> bool:
    """Whether nydusd can check chunks of an image in a registry.

    Its check asks for the length of each blob by a HEAD. Where that is answered by a redirect, nydusd 2.2
    mounts the image but fails every read.

    Raises:
        RegistryError: the registry does not answer, or lacks a part of the image.
    """
    return client.tells_blob_sizes(repository, image.manifest.layers[0].digest)


def _write(path: Path, content: bytes) -> None:
    """Writes a file anew: a nydusd that has the old one mapped keeps it."""
    with atomic_file(path) as file:
        file.write(content)
