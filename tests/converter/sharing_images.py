"""Converting images that share blobs, and reading their files back through all of them."""

from __future__ import annotations

import random
import tarfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

from converter.blob import BlobReader
from converter.dictionary import ChunkDictionary
from converter.dictionary_reader import DictionaryImage, read_dictionary
from converter.image import ConvertedImage, convert_image
from converter.options import ConvertOptions
from converter.rafs.reader import read_bootstrap
from tests.converter.layers import paths
from tests.images.layout import Image, build_image
from tests.images.tar import encode_tar, file

OPTIONS = ConvertOptions(threads=1)
CHUNK_SIZE = OPTIONS.chunk_size
Files = dict[str, bytes]


def noise(seed: int, size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def image_of(*layers: Files) -> Image:
    """An image with a layer for each set of files."""
    return build_image(
        [encode_tar([file(name, content) for name, content in layer.items()]) for layer in layers]
    )


def convert(
    image: Image,
    work: Path,
    dictionary: ChunkDictionary | None = None,
    options: ConvertOptions = OPTIONS,
) -> ConvertedImage:
    """Converts an image into a directory, which is made."""
    work.mkdir()
    return convert_image(
        image.manifest, image.config, image.open_layer, work, options,
        subject=image.manifest.descriptor, dictionary=dictionary,
    )  # fmt: skip


def as_dictionary(converted: ConvertedImage, source: Image | None) -> DictionaryImage:
    """A converted image as one of a dictionary, with or without knowledge of its source."""
    with tarfile.open(converted.bootstrap.path) as archive:
        files = {m.name.encode(): archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
        contents = {name: opened.read() for name, opened in files.items() if opened is not None}
    bootstrap = read_bootstrap(contents.pop(b"image/image.boot"))
    return DictionaryImage(converted.manifest, bootstrap, contents, source.manifest if source else None)


def dictionary_of(*images: tuple[ConvertedImage, Image], max_blobs: int = 16) -> ChunkDictionary:
    """A dictionary of converted images, given with their sources."""
    return read_dictionary(
        [as_dictionary(converted, source) for converted, source in images], OPTIONS, max_blobs
    )


def files_of(converted: ConvertedImage, directories: Iterable[Path]) -> Files:
    """The content of every file of a converted image, each chunk checked; blobs lie in the directories."""
    bootstrap = read_bootstrap(converted.bootstrap.boot_path.read_bytes())
    tree = bootstrap.tree
    with ExitStack() as stack:
        readers = []
        for record in bootstrap.blobs:
            name = record.blob_id.decode()
            path = next(directory / name for directory in directories if (directory / name).exists())
            reader = BlobReader(stack.enter_context(path.open("rb")))
            readers.append((reader, reader.chunk_table()))
        found = {}
        for path_, inode in paths(tree).items():
            first = tree.first_chunk[inode]
            uses = range(first, first + tree.chunk_count[inode])
            pieces = [
                readers[tree.chunk_blob[use]][0].chunk(readers[tree.chunk_blob[use]][1], tree.chunk_refs[use])
                for use in uses
            ]
            if not tree.is_directory(inode):
                found[path_.decode()] = b"".join(pieces)
    return found
