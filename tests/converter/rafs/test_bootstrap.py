"""The worked example of the format note (§6.2), byte for byte, and what readers demand."""

import pytest

from converter.rafs.bootstrap import encode_bootstrap
from converter.rafs.layout import Compressor
from tests.converter.rafs.samples import CHUNK_SIZE, TreeBuilder

MTIME = 1700000000
HALF_SECOND = 500_000_000
BLOB_ID = "95705215" + "0" * 52 + "093e"


def worked_example() -> bytes:
    """§6.2: a.txt, dir/b.bin, l -> a.txt; compressor none, blob features ALIGNED and CAP_TAR_TOC."""
    builder = TreeBuilder()
    builder.directory(b"")
    builder.file(b"a.txt", b"hello world\n", mtime_s=MTIME, mtime_ns=HALF_SECOND)
    builder.directory(b"dir", mtime_s=MTIME)
    builder.file(b"dir/b.bin", b"z" * 5000, mtime_s=MTIME, mtime_ns=HALF_SECOND)
    builder.symlink(b"l", b"a.txt", mtime_s=MTIME)
    return bytes(
        encode_bootstrap(
            builder.tree, [builder.blob(BLOB_ID)], compressor=Compressor.NONE, chunk_size=CHUNK_SIZE
        )
    )


# Offset and bytes, from the note. Ours differ in two things: the root is always prefetched (as in images of
# the reference converter, §6.3), and the chunk records have no CRC, so neither its flag (0x10) nor its value.
EXPECTED = {
    0x0400: "e2e1f5e0 00000000 00000040 0c 00 8000  0500000000000000",
    0x0418: "00" * 12 + "03000000 02000000" + "00" * 36,
    0x0450: "0c000000 0000 0100 0b00",
    0x0480: "15000001 00000000  0010000000000000 00010000 00001000",
    0x0498: "0040000000000000 a000000000000000",
    0x04A8: "0011000000000000 04000000",
    0x0580: BLOB_ID.encode().hex() + "03000000 80000000",
    0x1000: BLOB_ID.encode().hex() + "00000000 00001000 02000000 00000000",
    0x1050: "00000000 01000040 b423000000000000 0030000000000000 00000000 00000000",
    0x1070: "9413000000000000 2000000000000000 2000000000000000",
    0x1100: "80000000 00000000",
    0x2000: "00" * 0x1000,
    0x3000: "0500 0000 ed41 0000 4800000000000000 03000000 01000000",
    0x3020: "0000000000000000 00000000 03000000" + "00" * 16,
    0x3040: "8000000000000000 3c00 02 00 8000000000000000 3d00 02 00 8500000000000000 3f00 01 00",
    0x3064: "8b00000000000000 4400 02 00 8800000000000000 4700 07 00" + b"...a.txtdirl".hex(),
    0x30A0: "0900 0000 a481 0000 0c00000000000000 28000000 02000000",
    0x30C0: "00f1536500000000 0065cd1d 01000000",
    0x30E0: "0000 01 00 00000000",
    0x3100: "0500 0000 ffa1 0000 0500000000000000",
    0x3114: "04000000",
    0x3140: b"a.txt".hex(),
    0x3160: "0500 0000 ed41 0000 2c00000000000000",
    0x3174: "03000000",
    0x318C: "02000000",
    0x31A0: "8b00000000000000 2400 02 00 8000000000000000 2500 02 00 8f00000000000000 2700 01 00",
    0x31C4: b"...b.bin".hex(),
    0x31E0: "0900 0000 a481 0000 8813000000000000 28000000 05000000",
    0x3220: "0100 01 00 01000000",
    0x4000: "d2eb",
    0x401E: "e5c6 00000000 00000000 88130000 88130000",
    0x4030: "0c00000000000000 0010000000000000 0000000000000000 01000000 00000000",
    0x4050: "dc5a",
    0x406E: "3355 00000000 00000000 0c000000 0c000000",
}


@pytest.mark.parametrize("offset", EXPECTED, ids=hex)
def test_worked_example(offset: int) -> None:
    expected = bytes.fromhex(EXPECTED[offset])
    found = worked_example()[offset : offset + len(expected)]
    assert found.hex(" ") == expected.hex(" ")


def test_worked_example_has_nothing_else() -> None:
    image = bytearray(worked_example())
    assert len(image) == 0x5000
    for offset, text in EXPECTED.items():
        size = len(bytes.fromhex(text))
        image[offset : offset + size] = bytes(size)
    # What is left: the middles of the digests, the modification times and link counts of other inodes.
    left = {at for at, byte in enumerate(image) if byte}
    digests = set(range(0x4002, 0x401E)) | set(range(0x4052, 0x406E))
    rest = {at for inode in (0x3100, 0x3160, 0x31E0) for at in range(inode + 0x20, inode + 0x30)}
    assert left <= digests | rest | set(range(0x3110, 0x3114)) | set(range(0x3170, 0x3174))
