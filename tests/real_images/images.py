"""Builds the images into the cache: every layer once, whichever images have it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from converter.oci import Descriptor, Digest, encode_json, media_types
from tests.demo.image import SUITE
from tests.peers.pins import cache_directory
from tests.real_images.layers import StoredLayer, compress, pack
from tests.real_images.packages import fetch
from tests.real_images.recipes import Layers, Tree
from tests.real_images.rootfs import install, make_base, overlay, unpack

_VERSION: Final = 1  # of how layers are made; another one makes them anew


class Builder:
    """Makes layers, or finds them in the cache.

    Args:
        say: is told what takes time.
    """

    def __init__(self, scratch: Path, say: Callable[[str], None]) -> None:
        self._cache = cache_directory() / "real-images"
        self._cache.mkdir(parents=True, exist_ok=True)
        self._scratch = scratch
        self._say = say

    def layers(self, wanted: Layers) -> list[StoredLayer]:
        """The layers of an image, lowest first.

        Raises:
            ProgramError: a package registry's client failed.
        """
        found = []
        if wanted.debian is not None:
            found.append(self._layer(f"Debian {SUITE}, minimal", (SUITE,), self._base))
        if wanted.debian:
            names, security = wanted.debian, wanted.security
            found.append(
                self._layer(
                    f"Debian packages {' '.join(names)}" + ("" if security else ", without security fixes"),
                    (found[0].digest, names, security),
                    lambda scratch: self._packages(Path(found[0].path), names, security, scratch),
                )
            )
        if wanted.tree is not None:
            tree = wanted.tree
            found.append(
                self._layer(
                    f"{tree.registry} {tree}", (repr(tree),), lambda scratch: self._tree(tree, scratch)
                )
            )
        return found

    def _layer(self, title: str, key: tuple[object, ...], make: Callable[[Path], Path]) -> StoredLayer:
        name = hashlib.sha256(repr((_VERSION, *key)).encode()).hexdigest()[:16]
        record = self._cache / f"{name}.json"
        if record.exists():
            return StoredLayer.load(record)
        self._say(f"building the layer: {title}")
        with (
            tempfile.TemporaryDirectory(dir=self._scratch) as directory,
            make(Path(directory)).open("rb") as tar,
        ):
            layer = compress(tar, self._cache / f"{name}.tar.gz")
        layer.save(record)
        return layer

    def _base(self, scratch: Path) -> Path:
        tar = scratch / "base.tar"
        make_base(tar)
        return tar

    def _packages(self, base: Path, names: tuple[str, ...], security: bool, scratch: Path) -> Path:
        lower = self._scratch / "base"
        if not lower.exists():
            unpack(base, lower)
        with overlay(lower, scratch / "overlay") as (root, upper):
            install(root, names, self._scratch, security=security)
        return pack(upper, scratch, is_upper=True)

    def _tree(self, tree: Tree, scratch: Path) -> Path:
        fetch(tree, scratch / "tree")
        return pack(scratch / "tree", scratch, tree.directory)


@contextmanager
def builder(say: Callable[[str], None]) -> Iterator[Builder]:
    """A builder whose unpacked root file systems go when the context ends."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".real-images-") as directory:
        yield Builder(Path(directory), say)


def write_layout(layers: list[StoredLayer], directory: Path, tag: str) -> None:
    """Writes an OCI layout with one image; the layers are links to those in the cache."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)
    for layer in layers:
        _link(Path(layer.path), blobs / layer.digest)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.diff_id}" for layer in layers]},
    }
    config_descriptor = _write(blobs, config, media_types.OCI_CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": config_descriptor.to_json(),
        "layers": [
            Descriptor(media_types.OCI_LAYER_GZIP, Digest(layer.digest), layer.size).to_json()
            for layer in layers
        ],
    }
    entry = _write(blobs, manifest, media_types.OCI_MANIFEST).to_json()
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def _write(blobs: Path, document: Mapping[str, Any], media_type: str) -> Descriptor:
    raw = encode_json(document)
    descriptor = Descriptor(media_type, Digest.of(raw), len(raw))
    (blobs / descriptor.digest.hex).write_bytes(raw)
    return descriptor


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another file system
        shutil.copyfile(source, target)
