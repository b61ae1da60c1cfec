"""RFC 6962 hashing against the vectors of Certificate Transparency, and against its definition."""

import hashlib

import pytest

from converter.chunk_manifest.merkle import RootBuilder, leaf_hash
from tests.converter.chunk_manifest.lists import merkle_root

# google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc: inputs, and the root after each.
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH as section 2.1 writes it down, split at the largest power of two below n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + defined_root(leaves[:split]) + defined_root(leaves[split:])).digest()


@pytest.mark.parametrize("count", range(1, 9))
def test_published_roots(count: int) -> None:
    assert merkle_root(LEAVES[:count]).hex() == ROOTS[count - 1]


def test_root_of_nothing() -> None:
    assert merkle_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


# Around the height at which the builder folds complete subtrees.
@pytest.mark.parametrize("count", [4095, 4096, 4097, 8191, 8192, 8193, 12289, 20480])
@pytest.mark.parametrize("batch", [1000, 4096, 100_000])
def test_batches_do_not_change_the_root(count: int, batch: int) -> None:
    leaves = [b"%d" % number for number in range(count)]
    builder = RootBuilder()
    for start in range(0, count, batch):
        builder.add([leaf_hash(leaf) for leaf in leaves[start : start + batch]])
    assert builder.root() == defined_root(leaves)


def test_asking_for_the_root_does_not_end_the_tree() -> None:
    builder = RootBuilder()
    for count, leaf in enumerate(LEAVES, 1):
        builder.add([leaf_hash(leaf)])
        assert builder.root().hex() == ROOTS[count - 1]
