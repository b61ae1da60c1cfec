"""The spool: a directory for each job in which an image is converted before anything of it is uploaded.

A layer's digest, and so its key everywhere, is known only when all of it is converted; and a bad last layer
must leave nothing behind. So the whole image is written here first. What is written can be read again after a
crash (`image.json` is the last file, so it means that the others are complete), and is simply made again when
it is lost: the same source gives the same bytes.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog

from converter.chunk_manifest import BlobChunks, Bootstrap, ChunkManifestError
from converter.chunk_manifest.fields import Fields
from converter.image import ConvertedImage
from converter.oci import Descriptor, Digest, ImageManifest, OciError, parse_manifest
from converter.options import ConvertOptions

_FACTS: Final = "image.json"
_MANIFEST: Final = "manifest.json"
_CONFIG: Final = "config.json"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SpooledBlob:
    """A data blob, and what is signed of it.

    Args:
        descriptor: as in the manifest.
        path: its file.
        chunks: its tree and the descriptor of its chunk list.
        chunk_list: file of the chunk list.
    """

    descriptor: Descriptor
    path: Path
    chunks: BlobChunks
    chunk_list: Path


@dataclass(frozen=True, slots=True)
class SpooledLoan:
    """A data blob that an earlier image of the repository has; for the fields see `SpooledBlob`."""

    descriptor: Descriptor
    chunks: BlobChunks
    chunk_list: Path


@dataclass(frozen=True, slots=True)
class SpooledReference:
    """What is signed of a layer of the source that holds data; for the fields see `SpooledBlob`."""

    chunks: BlobChunks
    chunk_list: Path


@dataclass(frozen=True, slots=True)
class SpooledImage:
    """A converted image on the local disk.

    Args:
        manifest: the converted image's.
        config: the converted image's.
        blobs: those that were made, lowest first.
        borrowed: those that the registry has already.
        references: layers of the source that hold data of the image, each once.
        bootstrap: what is signed of the bootstrap layer, the last layer of the manifest.
        bootstrap_path: file of the bootstrap layer.
        counts: facts for people: files, bytes.
    """

    manifest: ImageManifest
    config: bytes
    blobs: tuple[SpooledBlob, ...]
    borrowed: tuple[SpooledLoan, ...]
    references: tuple[SpooledReference, ...]
    bootstrap: Bootstrap
    bootstrap_path: Path
    counts: Mapping[str, int]

    def signed_blobs(self) -> tuple[tuple[BlobChunks, Path], ...]:
        """Tree and chunk list of each data blob of the manifest, in its order."""
        known = {blob.descriptor.digest: (blob.chunks, blob.chunk_list) for blob in self.blobs}
        known |= {loan.descriptor.digest: (loan.chunks, loan.chunk_list) for loan in self.borrowed}
        return tuple(known[layer.digest] for layer in self.manifest.layers[:-1])


class Spool:
    """All spool directories of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @contextmanager
    def directory(self, job_id: str) -> Iterator[Path]:
        """The directory of a job: with what an earlier try left, and removed when the job ends.

        It is made by the step that fills it, which can be run again when the disk is full.
        """
        path = self._root / job_id
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def remove_leftovers(self, is_active: Callable[[list[str]], set[str]]) -> int:
        """Removes the directories of jobs that have ended, which a killed worker could not.

        Args:
            is_active: tells which of some job ids are still going to run.

        Returns:
            How many were removed.
        """
        found = sorted(path.name for path in self._root.glob("*") if path.is_dir())
        ended = set(found) - is_active(found)
        for name in ended:
            shutil.rmtree(self._root / name, ignore_errors=True)
        return len(ended)


def save(
    image: ConvertedImage, directory: Path, options: ConvertOptions, borrowed: Sequence[SpooledLoan] = ()
) -> SpooledImage:
    """Remembers a finished conversion, which was made with these options, in its directory.

    Args:
        image: the conversion.
        directory: of its job.
        options: that it was made with.
        borrowed: what is to be signed of the blobs that it borrows.
    """
    spooled = _from_converted(image, options, tuple(borrowed))
    (directory / _MANIFEST).write_bytes(image.manifest.raw)
    (directory / _CONFIG).write_bytes(image.config)
    boot = spooled.bootstrap
    facts = {
        "blobs": [
            {
                "descriptor": blob.descriptor.to_json(), "path": blob.path.name,
                "chunks": blob.chunks.to_json(), "chunk_list": blob.chunk_list.name,
            }
            for blob in spooled.blobs
        ],
        "borrowed": [
            {
                "descriptor": loan.descriptor.to_json(), "chunks": loan.chunks.to_json(),
                "chunk_list": loan.chunk_list.name,
            }
            for loan in spooled.borrowed
        ],
        "references": [
            {"chunks": layer.chunks.to_json(), "chunk_list": layer.chunk_list.name}
            for layer in spooled.references
        ],
        "bootstrap": {
            "path": spooled.bootstrap_path.name, "diff_id": boot.diff_id.hex, "boot": boot.boot_digest.hex,
            "fs_version": boot.fs_version, "chunk_size": boot.chunk_size, "digester": boot.digester,
        },
        "counts": dict(spooled.counts),
    }  # fmt: skip
    partial = directory / f"{_FACTS}.partial"
    with partial.open("w") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    partial.rename(directory / _FACTS)
    return spooled


def load(directory: Path) -> SpooledImage | None:
    """Reads what `save` remembered; None if there is nothing, or nothing that can be read."""
    try:
        facts = json.loads((directory / _FACTS).read_bytes())
        return _from_facts(directory, facts)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OciError, ChunkManifestError) as error:
        _log.warning(
            "spooled image is unreadable and is made again", directory=str(directory), error=str(error)
        )
        return None


def _from_converted(
    image: ConvertedImage, options: ConvertOptions, borrowed: tuple[SpooledLoan, ...]
) -> SpooledImage:
    layer = image.bootstrap.descriptor
    return SpooledImage(
        manifest=image.manifest,
        config=image.config,
        blobs=tuple(
            SpooledBlob(
                blob.descriptor,
                blob.path,
                BlobChunks(
                    blob.descriptor.digest, blob.descriptor.size, blob.compressor, blob.chunk_count,
                    blob.root_hash, blob.chunk_list,
                ),
                blob.chunk_list_path,
            )
            for blob in image.blobs
        ),
        borrowed=borrowed,
        references=_references(image),
        bootstrap=Bootstrap(
            layer.digest, layer.size, image.bootstrap.diff_id, image.bootstrap.boot_digest,
            str(options.fs_version), options.chunk_size, options.digester,
        ),
        bootstrap_path=image.bootstrap.path,
        counts={
            "files": image.stats.files,
            "tar_bytes": sum(layer.tar_size for layer in image.stats.layers),
            "source_bytes": sum(layer.stored_size for layer in image.stats.layers),
            "blob_bytes": sum(blob.descriptor.size for blob in image.blobs),
            "chunks": sum(blob.chunk_count for blob in image.blobs),
            "borrowed_blobs": len(borrowed),
            "referenced_layers": len(_references(image)),
        },
    )  # fmt: skip


def _references(image: ConvertedImage) -> tuple[SpooledReference, ...]:
    layers = {blob.reference.digest: blob.reference for blob in image.blobs if blob.reference}
    return tuple(
        SpooledReference(
            BlobChunks(layer.digest, layer.size, layer.compressor, 0, layer.root_hash, layer.chunk_list),
            layer.chunk_list_path,
        )
        for layer in layers.values()
    )


def _from_facts(directory: Path, facts: Mapping[str, Any]) -> SpooledImage:
    manifest = parse_manifest((directory / _MANIFEST).read_bytes())
    if not isinstance(manifest, ImageManifest):
        raise ValueError("the spooled manifest is not an image's")
    boot, layer = facts["bootstrap"], manifest.layers[-1]
    return SpooledImage(
        manifest=manifest,
        config=(directory / _CONFIG).read_bytes(),
        blobs=tuple(
            SpooledBlob(
                Descriptor.from_json(blob["descriptor"]),
                _existing(directory / blob["path"]),
                BlobChunks.from_json(Fields(blob["chunks"], "chunks")),
                _existing(directory / blob["chunk_list"]),
            )
            for blob in facts["blobs"]
        ),
        borrowed=tuple(
            SpooledLoan(
                Descriptor.from_json(loan["descriptor"]),
                BlobChunks.from_json(Fields(loan["chunks"], "chunks")),
                _existing(directory / loan["chunk_list"]),
            )
            for loan in facts.get("borrowed", ())  # older versions borrowed nothing
        ),
        references=tuple(
            SpooledReference(
                BlobChunks.from_json(Fields(layer["chunks"], "chunks")),
                _existing(directory / layer["chunk_list"]),
            )
            for layer in facts.get("references", ())
        ),
        bootstrap=Bootstrap(
            layer.digest, layer.size, Digest(boot["diff_id"]), Digest(boot["boot"]),
            boot["fs_version"], boot["chunk_size"], boot["digester"],
        ),
        bootstrap_path=_existing(directory / boot["path"]),
        counts=facts["counts"],
    )  # fmt: skip


def _existing(path: Path) -> Path:
    path.stat()
    return path
