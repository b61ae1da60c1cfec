"""Export: the plain image unpacks to the tree that the Nydus image shows, and is the same every time."""

from __future__ import annotations

import gzip
import io
import json
import stat
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.check.source import SourcePieces
from converter.errors import BlobError, UnsupportedImageError
from converter.export import ExportedImage, export_image
from converter.nydus_image import NydusImage
from converter.oci import Digest, encode_json, media_types, parse_manifest
from converter.options import ConvertOptions
from converter.read_back import chunk_rows
from converter.tree import FileTree
from converter.tree_compare import TreeContent, compare_trees
from tests.converter.memory_files import nydus_files
from tests.images.layout import Image, build_image
from tests.images.odd import CASES, REFUSED, Case, odd_image
from tests.images.tar import directory, encode_tar, file, hardlink, symlink

SMALL = build_image(
    [
        encode_tar([directory("d", 0o700), file("d/a", b"a" * 9000), file("gone", b"gone")]),
        encode_tar([file(".wh.gone"), hardlink("again", "d/a"), symlink("l" * 150, "t" * 300)]),
    ]
)


def exported(
    image: Image, work: Path, options: ConvertOptions | None = None
) -> tuple[NydusImage, ExportedImage]:
    work.mkdir(exist_ok=True)
    files, manifest = nydus_files(
        image, work / "nydus", options or ConvertOptions(chunk_size=4096, threads=1)
    )
    with NydusImage(files, manifest) as nydus:
        return nydus, export_image(nydus, work)


def has_hidden_directory(case: Case) -> bool:
    """Whether a directory is named like a whiteout, and only made by what is in it."""
    return any(b".wh." in entry.name.rpartition(b"/")[0] for layer in case.layers for entry in layer)


def test_the_layer_holds_the_very_tree(tmp_path: Path) -> None:
    image = odd_image([case for case in CASES if case.name not in REFUSED and not has_hidden_directory(case)])
    nydus, plain = exported(image, tmp_path, ConvertOptions(chunk_size=4096, threads=1))
    pieces = SourcePieces(4096)
    with plain.path.open("rb") as stream:
        layer = pieces.read_layer(stream)
    shown = TreeContent(nydus.bootstrap.tree, nydus.bootstrap.chunks["digest"][chunk_rows(nydus.bootstrap)])
    assert list(compare_trees(shown, pieces.content(layer.tree))) == []
    config = json.loads(plain.config)
    assert config["rootfs"]["diff_ids"] == [str(layer.diff_id)]
    assert plain.layer.digest == Digest.of(plain.path.read_bytes())


def test_the_documents_are_those_of_a_plain_image(tmp_path: Path) -> None:
    source = json.loads(SMALL.config) | {"history": [{"created_by": "one"}, {"created_by": "two"}], "x": 1}
    config = encode_json(source)
    digest = Digest.of(config)
    document = json.loads(SMALL.manifest.raw)
    document["config"] |= {"digest": str(digest), "size": len(config)}
    document["annotations"] = {"org.example": "kept"}
    manifest = parse_manifest(encode_json(document))
    image = Image(manifest, config, SMALL.blobs | {digest: config})  # type: ignore[arg-type]
    _, plain = exported(image, tmp_path)
    made = json.loads(plain.config)
    assert made["history"] == [
        {"created_by": "one", "empty_layer": True},
        {"created_by": "two", "empty_layer": True},
        {"created_by": "dragonhook export"},
    ]
    assert {key: made[key] for key in source if key not in ("rootfs", "history")} == {
        key: source[key] for key in source if key not in ("rootfs", "history")
    }
    assert [layer.media_type for layer in plain.manifest.layers] == [media_types.OCI_LAYER_GZIP]
    assert plain.manifest.annotations == {"org.example": "kept"}
    assert plain.manifest.subject is None


def test_equal_images_give_equal_bytes(tmp_path: Path) -> None:
    digests = {exported(SMALL, tmp_path / name)[1].manifest.digest for name in ("one", "two")}
    assert len(digests) == 1


def test_another_reader_of_tars_agrees(tmp_path: Path) -> None:
    _, plain = exported(SMALL, tmp_path)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(plain.path.read_bytes()))) as tar:
        members = {member.name: member for member in tar}
        assert list(members) == [".", "again", "d", "l" * 150, "d/a"]
        assert members["d/a"].islnk()
        assert members["d/a"].linkname == "again"
        assert members["l" * 150].linkname == "t" * 300
        again = tar.extractfile("again")
        assert again is not None
        assert again.read() == b"a" * 9000


def add(name: bytes, mode: int) -> Callable[[FileTree], None]:
    return lambda tree: tree.link(tree.ROOT, name, tree.add_inode(mode=mode))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (add(b"socket", stat.S_IFSOCK | 0o644), "socket"),
        (add(b".wh.x", stat.S_IFREG), "whiteout"),
        (add(b"device", stat.S_IFCHR), "whiteout"),
        (lambda tree: tree.xattrs.update({tree.ROOT: ((b"user.a=b", b""),)}), "attribute"),
    ],
)
def test_what_no_layer_can_hold_is_refused(
    change: Callable[[FileTree], object], message: str, tmp_path: Path
) -> None:
    files, manifest = nydus_files(SMALL, tmp_path / "nydus")
    with NydusImage(files, manifest) as nydus:
        change(nydus.bootstrap.tree)
        with pytest.raises(UnsupportedImageError, match=message):
            export_image(nydus, tmp_path)


def test_damaged_content_is_not_exported(tmp_path: Path) -> None:
    files, manifest = nydus_files(SMALL, tmp_path / "nydus")
    digest = manifest.layers[0].digest
    files.blobs[digest] = bytes(100) + files.blobs[digest][100:]
    with NydusImage(files, manifest) as nydus, pytest.raises(BlobError):
        export_image(nydus, tmp_path)
