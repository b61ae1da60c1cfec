"""What nydusd needs to mount an image: its configuration, the bootstrap, and its command line.

nydusd is set up in one way: every chunk is checked by `cache.validate` (`rafs.validate` makes mounts of
RAFS v6 fail in 2.2), and nothing is fetched that is not asked for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from converter.nydus_image import NydusImage
from converter.oci import Reference
from registry_hook.transports import InvalidLocationError
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
        OSError: the directory cannot be written to.
    """
    cache = state.resolve() / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    for name, content in image.layer.others.items():
        if name.endswith(_CACHE_SUFFIX):
            # nydusd fetches a chunk info table that is not there.
            (cache / name.rpartition(b"/")[2].decode("ascii")).write_bytes(content)
    bootstrap, config = state.resolve() / "image.boot", state.resolve() / "nydusd.json"
    bootstrap.write_bytes(image.layer.bootstrap)
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
    config.write_text(json.dumps(configuration, indent=2) + "\n")
    command = (
        PROGRAM, "fuse", "--mountpoint", str(mountpoint.resolve()), "--bootstrap", str(bootstrap),
        "--config", str(config), "--rlimit-nofile", "0", "--log-level", "info",
    )  # fmt: skip
    return NydusdMount(command, configuration)
