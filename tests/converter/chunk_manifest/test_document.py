import copy
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.chunk_manifest import (
    BlobChunks,
    BlobStatement,
    Bootstrap,
    ChunkListSummary,
    ChunkManifest,
    InvalidChunkManifestError,
    SourceImage,
    TargetImage,
    format_time,
)
from converter.oci import (
    Descriptor,
    Digest,
    ImageManifest,
    Platform,
    encode_json,
    media_types,
    parse_manifest,
)


def digest(text: str) -> Digest:
    return Digest.of(text.encode())


def blob(name: str, records: int = 3, chunks: int = 2, size: int = 1000) -> BlobChunks:
    chunk_list = Descriptor(media_types.CHUNK_LIST, digest(f"list of {name}"), 64 + 40 * records)
    return BlobChunks(digest(name), size, "zstd", chunks, bytes(range(32)), chunk_list)


def manifest_of(blobs: tuple[BlobChunks, ...], bootstrap: Bootstrap) -> ImageManifest:
    layers = [Descriptor(media_types.NYDUS_BLOB, entry.digest, entry.size).to_json() for entry in blobs]
    layers.append(
        Descriptor(media_types.OCI_LAYER_GZIP, bootstrap.layer_digest, bootstrap.layer_size).to_json()
    )
    config = Descriptor(media_types.OCI_CONFIG, digest("config"), 7).to_json()
    document = {"schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": config, "layers": layers}
    manifest = parse_manifest(encode_json(document))
    assert isinstance(manifest, ImageManifest)
    return manifest


BOOTSTRAP = Bootstrap(digest("layer"), 500, digest("tar"), digest("boot"), "6", 1 << 20, "blake3")
BLOBS = (blob("a"), blob("b", records=1, chunks=0), blob("a"))
IMAGE = manifest_of(BLOBS, BOOTSTRAP)
CHUNKS = ChunkManifest(
    TargetImage(
        "registry.test/app", IMAGE.digest, IMAGE.media_type, IMAGE.size, Platform("linux", "arm64", "v8")
    ),
    SourceImage("registry.test/app", digest("source"), media_types.OCI_MANIFEST, "v1", digest("index")),
    BOOTSTRAP,
    BLOBS,
    "2026-11-23T19:20:00Z",
)


def test_reading_inverts_writing() -> None:
    bare = replace(
        CHUNKS,
        target=replace(CHUNKS.target, platform=None),
        source=replace(CHUNKS.source, tag=None, index_digest=None),
    )
    for document in (CHUNKS, bare):
        assert ChunkManifest.from_predicate(json.loads(json.dumps(document.to_predicate()))) == document
    statement = BlobStatement.of(BLOBS[0])
    assert BlobStatement.from_predicate(json.loads(json.dumps(statement.to_predicate()))) == statement


def test_the_fields_of_the_predicate() -> None:
    predicate = CHUNKS.to_predicate()
    assert sorted(predicate) == ["blobs", "bootstrap", "issuedAt", "schema", "source", "target"]
    assert predicate["schema"] == 1
    assert predicate["blobs"][0] == {
        "digest": {"sha256": digest("a").hex},
        "size": 1000,
        "compressor": "zstd",
        "chunkCount": 2,
        "tree": "rfc6962-sha256",
        "rootHash": bytes(range(32)).hex(),
        "list": {
            "digest": {"sha256": digest("list of a").hex},
            "size": 184,
            "mediaType": "application/vnd.dragonhook.chunklist.v1",
        },
    }


def test_a_blob_statement_names_no_image_and_no_time() -> None:
    assert sorted(BlobStatement.of(BLOBS[0]).to_predicate()) == [
        "chunkCount", "list", "rootHash", "schema", "size", "tree",
    ]  # fmt: skip


def test_unknown_fields_are_ignored() -> None:
    predicate = CHUNKS.to_predicate()
    predicate["later"] = {"anything": 1}
    assert ChunkManifest.from_predicate(predicate) == CHUNKS


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda p: p.update(schema=2), "schema should be 1"),
        (lambda p: p.update(schema=True), "schema should be an integer"),
        (lambda p: p.pop("schema"), "missing"),
        (lambda p: p.pop("issuedAt"), "issuedAt should be a string"),
        (lambda p: p.update(target=[]), "target should be an object"),
        (lambda p: p["target"].pop("repository"), "target.repository"),
        (lambda p: p["target"].update(size="7"), "target.size should be an integer"),
        (lambda p: p["target"].update(size=-1), "target.size should be an integer"),
        (lambda p: p["target"].update(size=2**53), "target.size should be an integer"),
        (lambda p: p["target"].update(size=1.0), "target.size should be an integer"),
        (lambda p: p["target"].update(digest="sha256:" + "0" * 64), "target.digest should be an object"),
        (lambda p: p["target"].update(digest={"sha512": "0" * 128}), "target.digest.sha256"),
        (lambda p: p["target"]["digest"].update(sha256="0" * 63), "target.digest.sha256"),
        (lambda p: p["target"].update(platform="linux"), "target.platform"),
        (lambda p: p["target"].update(platform={"os": "linux"}), "target.platform"),
        (lambda p: p["source"].update(tag=5), "source.tag"),
        (lambda p: p["source"].update(indexDigest={}), "source.indexDigest"),
        (lambda p: p["bootstrap"].pop("diffId"), "bootstrap.diffId"),
        (lambda p: p.update(blobs={}), "a list of at most 1024"),
        (lambda p: p.update(blobs=[p["blobs"][0]] * 1025), "a list of at most 1024"),
        (lambda p: p["blobs"].append(5), r"blobs\[3\] is not a JSON object"),
        (lambda p: p["blobs"][1].update(tree="rfc6962-sha512"), "unknown tree"),
        (lambda p: p["blobs"][1].update(rootHash="00"), r"blobs\[1\].rootHash"),
        (lambda p: p["blobs"][1]["list"].update(mediaType="text/plain"), "not a chunk list"),
        (lambda p: p["blobs"][1]["list"].update(size=63), "not a chunk list"),
        (lambda p: p["blobs"][1]["list"].update(size=105), "not a chunk list"),
        # No record, but bytes: the signature would cover none of them.
        (lambda p: p["blobs"][1]["list"].update(size=64), "0 records, 0 of them chunks, over a blob of 1000"),
        (lambda p: p["blobs"][1].update(size=0), "1 records, 0 of them chunks, over a blob of 0"),
        (lambda p: p["blobs"][1].update(chunkCount=2), "1 records, 2 of them chunks"),
    ],
)
def test_malformed_predicates_are_refused(edit: Edit, reason: str) -> None:
    predicate = copy.deepcopy(CHUNKS.to_predicate())
    edit(predicate)
    with pytest.raises(InvalidChunkManifestError, match=reason):
        ChunkManifest.from_predicate(predicate)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data(), json_values)
def test_garbage_gives_our_error_and_no_other(data: st.DataObject, value: object) -> None:
    """Any part of a good predicate replaced by anything: it reads as itself or is refused."""
    predicate = copy.deepcopy(CHUNKS.to_predicate())
    place: Any = predicate
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            place[key] = value
            break
        place = place[key]
    for reader in (ChunkManifest.from_predicate, BlobStatement.from_predicate):
        try:
            reader(predicate)
        except InvalidChunkManifestError:
            continue
    with pytest.raises(InvalidChunkManifestError):
        BlobStatement.from_predicate(value)


def test_the_image_it_describes() -> None:
    CHUNKS.check_image(IMAGE)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"target": replace(CHUNKS.target, digest=digest("x"))}, "it is about sha256:"),
        ({"target": replace(CHUNKS.target, size=1)}, r"\(1 bytes\)"),
        ({"target": replace(CHUNKS.target, media_type="text/plain")}, "a text/plain"),
        ({"blobs": BLOBS[:2]}, "are not its blobs and bootstrap in order$"),
        ({"blobs": (BLOBS[1], BLOBS[0], BLOBS[0])}, "in order$"),
        ({"blobs": (BLOBS[0], blob("c"), BLOBS[2])}, f"{digest('b')} is not described"),
        ({"blobs": (BLOBS[0], replace(BLOBS[1], size=999), BLOBS[2])}, f"{digest('b')} is not described"),
        ({"bootstrap": replace(BOOTSTRAP, layer_size=501)}, f"{digest('layer')} is not described"),
    ],
)
def test_other_images_are_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidChunkManifestError, match=reason):
        replace(CHUNKS, **change).check_image(IMAGE)


SUMMARY = ChunkListSummary(BLOBS[0].chunk_list, BLOBS[0].digest, 1000, 2, 3, bytes(range(32)))


def test_the_list_it_names() -> None:
    BLOBS[0].check_list(SUMMARY)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"blob": digest("x")}, "blob"),
        ({"blob_size": 999}, "blob size"),
        ({"root_hash": bytes(32)}, "root hash"),
        ({"chunk_count": 1}, "chunk count"),
        ({"descriptor": replace(SUMMARY.descriptor, digest=digest("x"))}, "list digest"),
        ({"descriptor": replace(SUMMARY.descriptor, size=64)}, "list size"),
    ],
)
def test_other_lists_are_refused(change: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidChunkManifestError, match=f"its {name} is "):
        BLOBS[0].check_list(replace(SUMMARY, **change))


def test_root_hashes_have_32_bytes() -> None:
    with pytest.raises(InvalidChunkManifestError, match="has 31 bytes"):
        replace(BLOBS[0], root_hash=bytes(31))


def test_times() -> None:
    moment = datetime(2026, 11, 23, 20, 20, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert format_time(moment) == "2026-11-23T19:20:00Z"
    assert format_time(datetime(26, 1, 2, tzinfo=UTC)) == "0026-01-02T00:00:00Z"
    with pytest.raises(ValueError, match="without a time zone"):
        format_time(datetime(2026, 11, 23))  # noqa: DTZ001  # the point of the test
