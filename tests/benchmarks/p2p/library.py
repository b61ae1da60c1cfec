"""What the nodes pull: one image and its conversion, in the storage of a registry.

The image is the demo's, Debian with Python and two large PyPI packages: over 100 MB in two layers, as
ordinary images are, and something to run. Tests take a small one of random bytes instead.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from converter.oci import Descriptor, ImageManifest
from tests.demo.image import TAG, demo_image
from tests.demo.lazy import registry_image
from tests.images.layout import build_image
from tests.images.tar import encode_tar, file
from tests.peers.programs import run_command
from tests.peers.registries import Registry, RegistryKind
from tests.peers.stack import COMMAND
from tests.peers.tools import skopeo_copy

REPOSITORY: Final = "bench/image"
_SOURCE: Final = "source"
_CONVERTED: Final = "nydus"
_CONVERT_TIMEOUT_S: Final = 600.0

# Light, because all nodes share the processors of one machine.
_PROGRAM: Final = (
    "/usr/bin/python3", "-c",
    "import decimal, json; print(json.dumps({'sum': str(sum(map(decimal.Decimal, range(1000))))}))",
)  # fmt: skip
_OUTPUT: Final = '{"sum": "499500"}'
_SMALL_LAYERS: Final = (6 << 20, 5 << 20)


@dataclass(frozen=True)
class Library:
    """A registry's storage with the image and its conversion.

    Args:
        storage: the registry's `rootdirectory`; also the store of the gateway, since both have one layout.
        name: of the image, for the record.
        source: the image as it was pushed.
        converted: its conversion.
        program: what runs from the lazy mount, `{root}` standing for the mount.
        output: what it has to print.
        program_in_words: what it is, for people.
    """

    storage: Path
    name: str
    source: ImageManifest
    converted: ImageManifest
    program: tuple[str, ...]
    output: str
    program_in_words: str


def blobs_of(image: ImageManifest) -> Iterator[Descriptor]:
    """Config and layers: what a pull transfers, apart from the manifest."""
    yield image.config
    yield from image.layers


def transferred_bytes(image: ImageManifest) -> int:
    """How much a whole pull transfers, apart from the manifest."""
    return sum(blob.size for blob in blobs_of(image))


def open_library(directory: Path, small: bool = False) -> Library:
    """The library in a directory, which is filled at the first time.

    Args:
        directory: kept between runs.
        small: 11 MiB of random bytes instead of the demo's image.

    Raises:
        ProgramError: a program that makes the image failed.
    """
    registry = Registry(RegistryKind.V2, directory / "registry")
    marker = directory / "complete"
    with registry:
        if not marker.exists():
            layout, tag = _small_layout(directory) if small else (demo_image()[0], TAG)
            source = f"docker://{registry.host}/{REPOSITORY}:{_SOURCE}"
            skopeo_copy(f"oci:{layout}:{tag}", source)
            target = f"docker://{registry.host}/{REPOSITORY}:{_CONVERTED}"
            run_command([str(COMMAND), "convert", source, target], timeout_s=_CONVERT_TIMEOUT_S)
            marker.touch()
        return Library(
            storage=registry.storage,
            name="11 MiB of random bytes" if small else "the demo's: Debian 12, Python, NumPy, pandas",
            source=registry_image(registry.host, REPOSITORY, _SOURCE),
            converted=registry_image(registry.host, REPOSITORY, _CONVERTED),
            program=("sha256sum", "{root}/data0") if small else ("chroot", "{root}", *_PROGRAM),
            output=hashlib.sha256(_small_content(0)).hexdigest() if small else _OUTPUT,
            program_in_words="`sha256sum`" if small else "Python that adds up a thousand decimals",
        )


def _small_layout(directory: Path) -> tuple[Path, str]:
    layers = [
        encode_tar([file(f"data{number}", _small_content(number))]) for number, _ in enumerate(_SMALL_LAYERS)
    ]
    layout = directory / "layout"
    build_image(layers).write_layout(layout, "small")
    return layout, "small"


def _small_content(number: int) -> bytes:
    return random.Random(number).randbytes(_SMALL_LAYERS[number])
