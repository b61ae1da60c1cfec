"""A converted image in miniature: real blobs, chunk lists and bootstrap layer, but no file system inside."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime

from converter.chunk_manifest import (
    BlobChunks,
    Bootstrap,
    ChunkListReader,
    Segment,
    SegmentKind,
    SourceImage,
)
from converter.oci import (
    Descriptor,
    Digest,
    ImageIndex,
    ImageManifest,
    Platform,
    encode_json,
    media_types,
    parse_manifest,
)
from signer import DEFAULT_BUILDER_ID, Build, IndexSigningRequest, SigningRequest
from tests.converter.chunk_manifest.lists import encode_chunk_list

REPOSITORY = "registry.test:5000/demo/app"
AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64", "v8")
BUILD = Build(
    builder_id=DEFAULT_BUILDER_ID,
    versions={"dragonhook": "0.1.0"},
    parameters={"fsVersion": "6", "compressor": "zstd", "chunkSize": 1 << 20, "kernelMountable": False},
    source_verification="not verified",
    invocation_id="b6c0e1a4-0d3e-4c55-9f3a-3f0d3f9d7a11",
    started_on=datetime(2026, 11, 23, 19, 20, 0, tzinfo=UTC),
    finished_on=datetime(2026, 11, 23, 19, 20, 7, tzinfo=UTC),
    trigger={"eventId": "320678d8-ca14-430f-8bb6-4ca139cd83f7"},
)
ISSUED_AT = datetime(2026, 11, 23, 19, 20, 8, tzinfo=UTC)


@dataclass(frozen=True)
class SyntheticImage:
    """A request to sign, and the content of everything it names."""

    request: SigningRequest
    blobs: dict[Digest, bytes]

    @property
    def manifest(self) -> ImageManifest:
        return self.request.manifest


def chunked_blob(name: str, chunks: int) -> tuple[bytes, BlobChunks, bytes]:
    """A blob of so many chunks with other bytes behind them, and its list."""
    parts = [(SegmentKind.CHUNK, f"{name}, chunk {number};".encode() * 40) for number in range(chunks)]
    parts += [(SegmentKind.OTHER, f"{name}, chunk table".encode()), (SegmentKind.OTHER, bytes(512))]
    blob = b"".join(part for _, part in parts)
    segments = [Segment(len(part), kind, hashlib.sha256(part).digest()) for kind, part in parts]
    raw = encode_chunk_list(segments, Digest.of(blob))
    summary = ChunkListReader(io.BytesIO(raw)).read_all()
    described = BlobChunks(
        summary.blob, summary.blob_size, "zstd", summary.chunk_count, summary.root_hash, summary.descriptor
    )
    return blob, described, raw


def bootstrap_layer(boot: bytes, *, compressed: bool) -> tuple[bytes, bytes]:
    """The layer and its tar archive."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        directory = tarfile.TarInfo("image")
        directory.type = tarfile.DIRTYPE
        tar.addfile(directory)
        for name, content in (("image/a.blob.meta", b"m" * 700), ("image/image.boot", boot)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    raw = archive.getvalue()
    return (gzip.compress(raw, mtime=0) if compressed else raw), raw


def synthetic_image(
    name: str = "app",
    *,
    repository: str = REPOSITORY,
    platform: Platform = AMD64,
    source_index: Digest | None = None,
    compressed: bool = True,
    refers: bool = False,
) -> SyntheticImage:
    """An image of four layers, one of which is there twice and one of which has no chunks.

    Args:
        name: makes other blobs.
        repository: with host.
        platform: of the image.
        source_index: the index that its source belongs to.
        compressed: whether the bootstrap layer is; without, no byte depends on a compression library.
        refers: whether the layer that is there twice refers to a layer of the source.
    """
    original = chunked_blob(f"{name} original", 0)
    references = (original,) if refers else ()
    shared = chunked_blob(f"{name} base", 5)
    layers = [shared, chunked_blob(f"{name} top", 2), chunked_blob(f"{name} no files", 0), shared]
    boot = f"{name} bootstrap".encode() * 100
    layer, archive = bootstrap_layer(boot, compressed=compressed)
    layer_type = media_types.OCI_LAYER_GZIP if compressed else media_types.OCI_LAYER
    bootstrap = Bootstrap(
        Digest.of(layer), len(layer), Digest.of(archive), Digest.of(boot), "6", 1 << 20, "blake3"
    )
    config = encode_json({"architecture": platform.architecture, "os": platform.os, "name": name})
    source = SourceImage(
        repository, Digest.of(f"{name} source".encode()), media_types.OCI_MANIFEST, index_digest=source_index
    )
    descriptors = [
        *(
            Descriptor(
                media_types.NYDUS_BLOB,
                described.digest,
                described.size,
                {media_types.ANNOTATION_NYDUS_REF: str(original[1].digest)}
                if refers and number in (0, 3)
                else {},
            )
            for number, (_, described, _) in enumerate(layers)
        ),
        Descriptor(layer_type, Digest.of(layer), len(layer)),
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": media_types.OCI_MANIFEST,
        "config": Descriptor(media_types.OCI_CONFIG, Digest.of(config), len(config)).to_json(),
        "layers": [descriptor.to_json() for descriptor in descriptors],
        "subject": Descriptor(media_types.OCI_MANIFEST, source.digest, 1234).to_json(),
    }
    manifest = parse_manifest(encode_json(document))
    assert isinstance(manifest, ImageManifest)
    request = SigningRequest(
        repository, manifest, source, bootstrap, tuple((item, raw) for _, item, raw in layers),
        BUILD, ISSUED_AT, platform, tuple((item, raw) for _, item, raw in references),
    )  # fmt: skip
    contents = [config, layer, *(blob for blob, _, _ in (*layers, *references))]
    return SyntheticImage(request, {Digest.of(content): content for content in contents})


def synthetic_index(
    children: tuple[SyntheticImage, ...], source_index: Digest, repository: str = REPOSITORY
) -> IndexSigningRequest:
    """The index over converted images."""
    entries = [
        Descriptor(
            child.manifest.media_type,
            child.manifest.digest,
            child.manifest.size,
            platform=child.request.platform,
        ).to_json()
        for child in children
    ]
    subject = Descriptor(media_types.OCI_INDEX, source_index, 4321).to_json()
    index = parse_manifest(
        encode_json(
            {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries, "subject": subject}
        )
    )
    assert isinstance(index, ImageIndex)
    return IndexSigningRequest(
        repository, index, SourceImage(repository, source_index, media_types.OCI_INDEX), BUILD
    )
