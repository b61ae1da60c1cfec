"""The images of the table, each with what it has to look like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from converter.oci import Digest, media_types
from tests.images.layout import Compression, Image, build_image, compress, retyped, stored_image
from tests.images.odd import Case, named, odd_image
from tests.images.odd.case import case
from tests.images.packing import PACKINGS
from tests.images.tar import directory, encode_tar, file, hardlink, symlink, whiteout
from tests.interop.compat.features import ACLS, Feature, cases, features, other_cases
from tests.interop.containerd import Containerd
from tests.trees import Tree

_COMPRESSIONS: Final[Sequence[Compression]] = ("gzip", "zstd", "plain", "stored-gzip")
_TYPES: Final = {
    "gzip": media_types.OCI_LAYER_GZIP,
    "stored-gzip": media_types.OCI_LAYER_GZIP,
    "zstd": media_types.OCI_LAYER_ZSTD,
    "plain": media_types.OCI_LAYER,
}
LAYERS: Final = 127
_FOREIGN: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"


@dataclass(frozen=True)
class Subject:
    """An image that is converted to every form.

    Args:
        image: the image.
        truth: what it has to look like.
        features: the rows that it is for.
        cases: that all but the packed layers are made of.
        packed: layers on top of those, without compression, with what is in them.
    """

    image: Image
    truth: Tree
    features: Sequence[Feature]
    cases: Sequence[Case]
    packed: Sequence[tuple[Case, bytes]] = ()


def subjects(odd_tree: Tree, containerd: Containerd) -> list[Subject]:
    """All images: one for most of the rows, and one for each row about the image as a whole."""
    rows = features()
    acls = [row for row in rows if set(row.directories) & set(ACLS)]
    return [
        _many([row for row in rows if row not in acls], odd_tree, containerd),
        _acls(acls, odd_tree),
        _one_layer(containerd),
        _many_layers(containerd),
    ]


def earlier_image() -> Image:
    """Half of the large image's cases, as an image whose chunks another may borrow."""
    return odd_image(_large_cases()[::2])


def _large_cases() -> list[Case]:
    return [one for one in cases() if one.name not in ACLS]


def tars_of(chosen: Sequence[Case]) -> list[bytes]:
    """The layers of an image of cases."""
    count = max((len(one.layers) for one in chosen), default=0)
    return [encode_tar(entry for one in chosen for entry in one.entries(layer)) for layer in range(count)]


def _many(rows: Sequence[Feature], odd_tree: Tree, containerd: Containerd) -> Subject:
    """Many cases in few layers, and on top of them a layer of each packing."""
    chosen = _large_cases()
    tars = tars_of(chosen)
    kinds = _COMPRESSIONS[: len(tars)]
    layers = [(compress(tar, kind), tar) for tar, kind in zip(tars, kinds, strict=True)]
    packed = [packing.layer() for packing in PACKINGS]
    types = [*(_TYPES[kind] for kind in kinds), *(packing.media_type for packing in PACKINGS)]
    image = stored_image([(data, Digest.of(tar)) for data, tar in (*layers, *packed)], types)
    tree = odd_tree | containerd.unpack(
        build_image([*tars_of(other_cases()), *(tar for _, tar in packed)], "plain")
    )
    directories = {name.encode() for row in rows for name in row.directories}
    truth = {path: node for path, node in tree.items() if path.split(b"/")[0] in directories}
    whole = [(packing.case(), tar) for packing, (_, tar) in zip(PACKINGS, packed, strict=True)]
    return Subject(image, truth, rows, chosen, whole)


def _acls(rows: Sequence[Feature], odd_tree: Tree) -> Subject:
    chosen = [named(name) for name in ACLS]
    truth = {path: node for path, node in odd_tree.items() if path.split(b"/")[0].decode() in ACLS}
    return Subject(odd_image(chosen), truth, rows, chosen)


def _one_layer(containerd: Containerd) -> Subject:
    """One layer, in a manifest of Docker's types."""
    one = case("one", [directory("d"), file("d/a", b"a" * 5000), symlink("l", "d/a")])
    image = odd_image([one])
    docker = retyped(
        image, {0: {"mediaType": media_types.DOCKER_LAYER_GZIP}}, mediaType=media_types.DOCKER_MANIFEST
    )
    rows = [Feature("Image: one layer, Docker schema 2", ("one",))]
    return Subject(docker, containerd.unpack(image), rows, [one])


def _many_layers(containerd: Containerd) -> Subject:
    """As many layers as containerd takes; among them empty ones, and some that may not be distributed."""
    layers = [[directory("d"), file("first", b"first")]]
    for number in range(1, LAYERS):
        entries = [file(f"f{number}", b"%d" % number * number)]
        if number % 10 == 5:
            entries = []
        elif number % 10 == 7:
            entries += [whiteout(f"f{number - 1}"), hardlink(f"d/g{number}", f"f{number}")]
        layers.append(entries)
    many = case("many", *layers)
    image = odd_image([many])
    foreign = retyped(image, {number: {"mediaType": _FOREIGN} for number in (3, 50)})
    rows = [Feature("Image: 127 layers, empty and foreign ones among them", ("many",))]
    return Subject(foreign, containerd.unpack(image), rows, [many])
