"""The reference builder merges our layer blobs, and the reference daemon reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.blob import BlobReader
from converter.options import ConvertOptions
from tests.converter.layers import convert
from tests.images import tar as made
from tests.peers.mounts import directory_backend, nydusd_mount
from tests.peers.programs import run_program

LOWER = made.encode_tar(
    [
        made.directory("d"),
        made.file("d/gone", b"1"),
        made.file("d/kept", b"kept" * 500_000),
        made.file("old", b"old"),
    ]
)
UPPER = made.encode_tar(
    [made.directory("d"), made.whiteout("d/gone"), made.file("d/new", bytes(3 << 20)), made.whiteout("old")]
)
EMPTY = made.encode_tar([made.directory("empty")])


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize(
    "options",
    [
        ConvertOptions(),
        ConvertOptions(compressor="none"),
        ConvertOptions(compressor="none", kernel_mountable=True),
    ],
    ids=["zstd", "none", "kernel"],
)
def test_blobs_carry_all_that_the_reference_needs_to_merge_and_read_them(
    options: ConvertOptions, tmp_path: Path
) -> None:
    """nydus-image names a blob after the file of its bootstrap; whiteouts are the files `.wh.*`."""
    blobs, bootstraps = tmp_path / "blobs", tmp_path / "bootstraps"
    blobs.mkdir()
    bootstraps.mkdir()
    layers = []
    for data in (LOWER, EMPTY, UPPER):
        blob = convert(data, blobs, options).blob
        with blob.path.open("rb") as file:
            layers.append(bootstraps / blob.digest.hex)
            layers[-1].write_bytes(BlobReader(file).bootstrap())
        run_program("nydus-image", "check", "--bootstrap", layers[-1])
    merged = tmp_path / "merged.boot"
    run_program("nydus-image", "merge", "--bootstrap", merged, *layers)
    with nydusd_mount(merged, directory_backend(blobs), tmp_path / "nydusd", validate=True) as root:
        found = {str(path.relative_to(root)): path for path in root.rglob("*")}
        assert set(found) == {"d", "d/kept", "d/new", "empty"}
        assert found["d/kept"].read_bytes() == b"kept" * 500_000
        assert found["d/new"].read_bytes() == bytes(3 << 20)
