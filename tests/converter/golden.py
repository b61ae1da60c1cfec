"""The images whose conversions are pinned, and the script that pins them.

    python -m tests.converter.golden           print the digests as JSON
    python -m tests.converter.golden --write   write them to golden.json

A changed digest is a changed format: every store and node that has the old one holds it as different content.
Write it anew only for a change that is meant, and raise `ENCODER_VERSION` (`converter/options.py`) with it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from converter.image import convert_image
from converter.options import ConvertOptions
from tests.images.layout import Image, build_image
from tests.images.odd import CASES, LATER, REFUSED, case_image, named, odd_image
from tests.images.tar import encode_tar, file

GOLDEN = Path(__file__).with_name("golden.json")

Digests = dict[str, dict[str, object]]


def images() -> Mapping[str, Image]:
    """The pinned images. None is compressed by zlib, whose bytes differ from system to system."""
    pinned = [case for case in CASES if case not in LATER]
    small = [case for case in pinned if case.name not in REFUSED and not case.name.startswith("content-")]
    contents = [case for case in pinned if case.name.startswith("content-")]
    return {
        "empty": build_image([encode_tar([])], "stored-gzip"),
        "no-layers": build_image([], "plain"),
        "one-file": build_image([encode_tar([file("hello", b"hello, world\n")])], "plain"),
        "root": case_image(named("root-kept-by-two"), "stored-gzip"),
        "odd": odd_image(small, "stored-gzip"),
        "contents": odd_image(contents, "plain"),
    }


def options(threads: int) -> Mapping[str, ConvertOptions]:
    """The pinned ways to convert them."""
    return {
        "zstd": ConvertOptions(threads=threads),
        "zstd-64k": ConvertOptions(chunk_size=1 << 16, level=6, threads=threads),
        "none": ConvertOptions(compressor="none", threads=threads),
        "kernel": ConvertOptions(compressor="none", kernel_mountable=True, threads=threads),
        "reference": ConvertOptions(oci_ref=True, digester="sha256", threads=threads),
    }


def other_options(threads: int) -> Mapping[str, ConvertOptions]:
    """Ways to convert that are pinned with one image only."""
    return {
        "lz4-sha256": ConvertOptions(compressor="lz4_block", digester="sha256", threads=threads),
        "rafs5": ConvertOptions(fs_version=5, threads=threads),
        "docker-prefetch": ConvertOptions(media_types="docker", prefetch=("/usr", "/"), threads=threads),
    }


def convert_all(threads: int = 0) -> Digests:
    """Converts the images in every way that is pinned for them.

    Returns:
        By `image/way`: digests of the converted manifest, the bootstrap's layer, the bootstrap and the layer
        blobs. Under `zlib`, its version: the first two are only the same with the same zlib, which Python
        takes from the system.
    """
    digests: Digests = {"zlib": {"version": zlib.ZLIB_RUNTIME_VERSION}}
    for image_name, image in images().items():
        others = other_options(threads) if image_name == "odd" else {}
        for way, chosen in {**options(threads), **others}.items():
            with tempfile.TemporaryDirectory() as work:
                converted = convert_image(image.manifest, image.config, image.open_layer, Path(work), chosen)
            digests[f"{image_name}/{way}"] = {
                "manifest": str(converted.manifest.digest),
                "bootstrap layer": str(converted.bootstrap.descriptor.digest),
                "bootstrap": str(converted.bootstrap.diff_id),
                "blobs": [str(blob.descriptor.digest) for blob in converted.blobs],
            }
    return digests


def main() -> None:
    """Prints or writes the digests."""
    parser = argparse.ArgumentParser(prog="python -m tests.converter.golden")
    parser.add_argument("--write", action="store_true", help="write golden.json instead of printing")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the conversion, 0: one a processor"
    )
    arguments = parser.parse_args()
    text = json.dumps(convert_all(arguments.threads), indent=1) + "\n"
    if arguments.write:
        GOLDEN.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
