"""Long rows of versions, each sharing with those before: whatever happens to them, the files are right."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from converter.blob import BlobReader
from converter.dictionary_reader import DictionaryImage, read_dictionary
from converter.image import ConvertedImage
from converter.options import ConvertOptions
from converter.rafs.layout import UNKNOWN_BLOB_ID
from converter.rafs.reader import read_bootstrap
from tests.converter.sharing_images import Files, as_dictionary, convert, files_of, image_of

CHUNK_SIZE = 4096
VERSIONS = 12


def content(chance: random.Random) -> bytes:
    """Some chunks out of few, so that files and versions have many in common."""
    chunks = [bytes([chance.randrange(40)]) * CHUNK_SIZE for _ in range(chance.randrange(6))]
    return b"".join(chunks) + bytes([chance.randrange(40)]) * chance.randrange(1, 50)


def change(chance: random.Random, layers: list[Files]) -> None:
    """Changes some layers of an image, adds one or takes one away."""
    for layer in chance.sample(layers, chance.randrange(len(layers) + 1)):
        layer[f"f{chance.randrange(8)}"] = content(chance)
    if chance.random() < 0.2:
        layers.insert(chance.randrange(len(layers) + 1), {f"f{chance.randrange(8)}": content(chance)})
    if len(layers) > 1 and chance.random() < 0.2:
        layers.pop(chance.randrange(len(layers)))


def named_by_layers(converted: ConvertedImage, count: int, directories: list[Path]) -> set[str]:
    """Ids of all blobs that the bootstraps in the blobs of an image's layers name."""
    found = set()
    for layer in converted.manifest.layers[:count]:
        path = next(d / layer.digest.hex for d in directories if (d / layer.digest.hex).exists())
        with path.open("rb") as file:
            blobs = read_bootstrap(BlobReader(file).bootstrap()).blobs
        found |= {record.blob_id.decode() for record in blobs} - {UNKNOWN_BLOB_ID}
    return found


# 5 and 20 have a layer whose old blob needs another one that only the bootstrap in it names.
@pytest.mark.parametrize("seed", [0, 1, 2, 5, 20])
def test_versions_that_share_show_the_right_files(seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    share_layers = seed % 3 == 2
    options = ConvertOptions(chunk_size=CHUNK_SIZE, threads=1, share_layers=share_layers)
    layers: list[Files] = [{f"f{n}": content(chance)} for n in range(3)]
    before: list[DictionaryImage] = []
    directories: list[Path] = []
    for version in range(VERSIONS):
        change(chance, layers)
        bound = chance.choice([0, 1, 3, 16])
        image = image_of(*layers)
        lenders = before[-chance.randint(1, 2) :][::-1]
        directories.append(tmp_path / str(version))
        dictionary = read_dictionary(lenders, options, bound)
        converted = convert(image, directories[-1], dictionary, options)
        wanted = {name: data for layer in layers for name, data in layer.items()}
        assert files_of(converted, directories) == wanted
        listed = {layer.digest.hex for layer in converted.manifest.layers[:-1]}
        assert named_by_layers(converted, len(layers), directories) <= listed
        assert len(converted.borrowed) <= bound + len(layers)
        before.append(as_dictionary(converted, image if chance.random() < 0.8 else None))
