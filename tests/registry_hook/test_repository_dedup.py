"""How much the second version of an image costs where versions share blobs: all that is stored anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import zstandard

from converter.oci import ImageManifest
from registry_hook.dedup import DedupPolicy
from signer.verify import VerificationPolicy, verify_image
from tests.images.layout import Image, build_image
from tests.images.tar import Entry, encode_tar, file
from tests.registry_hook.world import REPOSITORY, World

_MEAN_FILE_BYTES = 50_000
_CHANGED_SHARE = 0.05
_LAYERS = 4


@dataclass(frozen=True)
class Contents:
    """Files by path in each layer, made as they are asked for.

    Args:
        sizes: of each file.
        changed: numbers of the files that differ in the second version.
    """

    sizes: list[int]
    changed: frozenset[int]

    @classmethod
    def of(cls, total_size: int) -> Contents:
        """Some 50 KB a file on average, most of them much smaller, and all together `total_size`."""
        random = np.random.default_rng(1)
        count = total_size // _MEAN_FILE_BYTES
        sizes = random.lognormal(sigma=1.0, size=count)
        sizes *= total_size / sizes.sum()
        changed = random.choice(count, round(count * _CHANGED_SHARE), replace=False)
        return cls([int(size) + 1 for size in sizes], frozenset(changed.tolist()))

    def content(self, number: int, version: int) -> bytes:
        """Lines of repeated phrases and hexadecimal digits: something that shrinks to less than half."""
        random = np.random.default_rng([number, version if number in self.changed else 1])
        lines = self.sizes[number] // 64 + 1
        text = np.empty((lines, 64), np.uint8)
        text[:, :36] = _PHRASES[random.integers(len(_PHRASES), size=lines)]
        text[:, 36:63] = _HEX[random.integers(16, size=(lines, 27))]
        text[:, 63] = 10
        return text.tobytes()[: self.sizes[number]]

    def image(self, version: int) -> Image:
        """The image; each layer has files that change."""
        return build_image([encode_tar(self._layer(layer, version)) for layer in range(_LAYERS)], "zstd")

    def _layer(self, layer: int, version: int) -> Iterator[Entry]:
        for number in range(layer, len(self.sizes), _LAYERS):
            yield file(f"usr/share/part-{number % 97:02}/file-{number}.txt", self.content(number, version))


_PHRASES = np.random.default_rng(0).integers(97, 123, size=(2000, 36), dtype=np.uint8)
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def stored_bytes(world: World) -> int:
    """All that the registry holds, manifests included."""
    manifests = sum(len(stored.raw) for stored in world.registry.manifests.values())
    return sum(map(len, world.registry.blobs.values())) + manifests


@pytest.mark.parametrize(
    "total_size",
    [pytest.param(40 * 10**6, id="40 MB"), pytest.param(500 * 10**6, id="500 MB", marks=pytest.mark.full)],
)
def test_a_second_version_costs_little_more_than_what_changed(total_size: int, tmp_path: Path) -> None:
    """At most 1.25 times the changed files' compressed size: blobs, bootstraps, chunk lists, signatures."""
    world, contents = World(tmp_path), Contents.of(total_size)
    world.services = replace(world.services, dedup=DedupPolicy((REPOSITORY,)))
    world.event("v1", world.push("v1", contents.image(1)))
    pushed = world.push("v2", contents.image(2))
    before = stored_bytes(world)
    world.event("v2", pushed)
    added = stored_bytes(world) - before
    compressor = zstandard.ZstdCompressor(level=world.services.options.level)
    changed = sum(len(compressor.compress(contents.content(number, 2))) for number in contents.changed)
    figures = f"{added:,} bytes for {changed:,} of changed files, {added / changed:.3f} times"
    print(figures)
    assert added <= 1.25 * changed, figures
    check(world)


def check(world: World) -> None:
    """The second version verifies, every byte of what it borrows included."""
    policy = VerificationPolicy(
        keys=(world.services.signer.public_key,), repositories=frozenset({f"registry.test:5000/{REPOSITORY}"})
    )
    report = verify_image(world.services.registry, REPOSITORY, "v2-nydus", policy, deep=True)
    manifest = world.services.registry.manifest(REPOSITORY, "v2-nydus")
    assert isinstance(manifest, ImageManifest)
    assert len(manifest.layers) == 2 * _LAYERS + 1
    assert len(report.images[0].chunk_manifest.blobs) == 2 * _LAYERS
