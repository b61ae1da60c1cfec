"""Directories, archives and registries: what goes in comes out, and wrong content does neither."""

from __future__ import annotations

import io
import json
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.oci import Descriptor, Digest, InvalidManifestError, media_types
from registry_hook.registry import DigestMismatchError, RegistryClient, SizeMismatchError
from registry_hook.transports import (
    InvalidLayoutError,
    InvalidLocationError,
    NoSuchImageError,
    UnwritableError,
    open_sink,
    open_source,
)
from registry_hook.transports.blob_files import blob_name
from registry_hook.transports.layout import LAYOUT_BYTES
from tests.registry_hook.registry.fake import FakeRegistry, client_of
from tests.registry_hook.transports.images import (
    check,
    check_index,
    descriptor,
    image,
    write,
    write_blobs,
    write_index,
)

FORMS = ["oci:{0}/layout:v1", "oci:{0}/layout", "oci-archive:{0}/image.tar:v1", "oci-archive:{0}/image.tar",
         "docker://registry.test/app:v1"]  # fmt: skip
LAYER = descriptor(media_types.OCI_LAYER, b"layer" * 1000)


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def client_for(registry: FakeRegistry) -> Callable[[str], RegistryClient]:
    def find(host: str) -> RegistryClient:
        assert host == "registry.test"
        return client_of(registry)

    return find


ClientFor = Callable[[str], RegistryClient]


@pytest.mark.parametrize("form", FORMS)
def test_an_image_goes_in_and_comes_out(form: str, tmp_path: Path, client_for: ClientFor) -> None:
    location = form.format(tmp_path)
    with open_sink(location, client_for) as sink:
        written = write(sink, image("a"))
    with open_source(location, client_for) as source:
        check(source, image("a"))
        assert source.manifest().descriptor == written


@pytest.mark.parametrize("form", FORMS)
def test_an_index_goes_in_and_comes_out(form: str, tmp_path: Path, client_for: ClientFor) -> None:
    location, images = form.format(tmp_path), [image("amd64"), image("arm64", 3)]
    with open_sink(location, client_for) as sink:
        write_index(sink, images)
    with open_source(location, client_for) as source:
        check_index(source, images)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_sink_takes_only_what_the_descriptor_says(
    form: str, as_file: bool, tmp_path: Path, client_for: ClientFor
) -> None:
    right, path = b"layer" * 1000, tmp_path / "content"

    def given(content: bytes) -> bytes | Path:
        path.write_bytes(content)
        return path if as_file else content

    for wrong, kind in (
        (b"!" + right[1:], DigestMismatchError),
        (right[:-1] + b"!", DigestMismatchError),
        (right + b"!", SizeMismatchError),
        (right[:-1], SizeMismatchError),
        (b"", SizeMismatchError),
    ):
        with pytest.raises(kind), open_sink(form.format(tmp_path), client_for) as sink:
            sink.put_blob(LAYER, given(wrong))
    with pytest.raises(DigestMismatchError), open_sink(form.format(tmp_path), client_for) as sink:
        sink.put_blob(Descriptor("x", Digest.of(b"x"), 0), b"")
    with open_sink(form.format(tmp_path), client_for) as sink:
        assert not sink.has_blob(LAYER)
        write(sink, image("a"))
        sink.put_blob(LAYER, given(right))
        assert sink.has_blob(LAYER)
    with open_source(form.format(tmp_path), client_for) as source, source.open_blob(LAYER) as stream:
        assert stream.read() == right


@pytest.mark.parametrize("form", ["oci:{0}/layout:v1", "oci-archive:{0}/image.tar:v1"])
def test_a_source_gives_only_what_the_descriptor_says(
    form: str, tmp_path: Path, client_for: ClientFor
) -> None:
    with open_sink(form.format(tmp_path), client_for) as sink:
        write(sink, image("a"))
    layer = image("a").blobs[1][0]
    lies = [
        (Descriptor("x", layer.digest, layer.size - 1), SizeMismatchError),
        (Descriptor("x", layer.digest, layer.size + 1), SizeMismatchError),
        (Descriptor("x", Digest.of(b"absent"), layer.size), InvalidLayoutError),
    ]
    with open_source(form.format(tmp_path), client_for) as source:
        for lie, kind in lies:
            with pytest.raises(kind), source.open_blob(lie) as stream:
                stream.read()
        with pytest.raises(InvalidLayoutError):
            source.manifest(Digest.of(b"absent"))
        with pytest.raises(InvalidManifestError):
            source.manifest(layer.digest)
        with pytest.raises(SizeMismatchError):
            source.read_blob(Descriptor("x", layer.digest, 5 << 20))


def test_a_damaged_blob_in_a_directory(tmp_path: Path, client_for: ClientFor) -> None:
    with open_sink(f"oci:{tmp_path}", client_for) as sink:
        write(sink, image("a"))
    layer, content = image("a").blobs[1]
    path = tmp_path / blob_name(layer.digest)
    path.write_bytes(content[:-1] + b"!")
    with open_source(f"oci:{tmp_path}", client_for) as source:
        with source.open_blob(layer) as stream, pytest.raises(DigestMismatchError):
            stream.read()
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(InvalidLayoutError), source.open_blob(layer) as stream:  # and it does not hang
            stream.read()
        (tmp_path / blob_name(source.manifest().digest)).write_bytes(image("b").manifest)
        with pytest.raises(DigestMismatchError):
            source.manifest()


def test_a_layout_keeps_its_other_images(tmp_path: Path, client_for: ClientFor) -> None:
    for name in ("a", "b", "c"):
        with open_sink(f"oci:{tmp_path}:{name}", client_for) as sink:
            write(sink, image(name))
    with open_sink(f"oci:{tmp_path}:b", client_for) as sink:
        write(sink, image("b again"))
    for name, content in (("a", "a"), ("b", "b again"), ("c", "c")):
        with open_source(f"oci:{tmp_path}:{name}", client_for) as source:
            check(source, image(content))
    with pytest.raises(NoSuchImageError, match="3 images"):
        open_source(f"oci:{tmp_path}", client_for)


def test_many_writers_of_one_layout(tmp_path: Path, client_for: ClientFor) -> None:
    def add(number: int) -> None:
        with open_sink(f"oci:{tmp_path}:v{number}", client_for) as sink:
            write(sink, image(str(number)))

    with open_sink(f"oci:{tmp_path}:first", client_for) as sink:
        write(sink, image("first"))
    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads((tmp_path / "index.json").read_bytes())["manifests"]) == 9
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_layout_without_its_last_step_shows_nothing(tmp_path: Path, client_for: ClientFor) -> None:
    with open_sink(f"oci:{tmp_path}:v1", client_for) as sink:
        write_blobs(sink, image("a"))
        sink.put_manifest(image("a").manifest, media_types.OCI_MANIFEST)
    with pytest.raises(InvalidLayoutError, match=r"index\.json"):
        open_source(f"oci:{tmp_path}:v1", client_for)


def test_a_directory_with_something_else_is_left_alone(tmp_path: Path, client_for: ClientFor) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(InvalidLayoutError, match="not empty"):
        open_sink(f"oci:{tmp_path}", client_for)
    with pytest.raises(UnwritableError):
        open_sink(f"oci:{tmp_path}/thesis.txt", client_for)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "version", [b"", b"{}", b"[]", b'{"imageLayoutVersion":"2.0.0"}', b'{"imageLayoutVersion":1}']
)
def test_an_unknown_layout_is_refused(version: bytes, tmp_path: Path, client_for: ClientFor) -> None:
    with open_sink(f"oci:{tmp_path}", client_for) as sink:
        write(sink, image("a"))
    (tmp_path / "oci-layout").write_bytes(version)
    with pytest.raises(InvalidLayoutError, match=r"oci-layout|version"):
        open_source(f"oci:{tmp_path}", client_for)


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("oci:{0}/absent", "/absent does not exist$"),
        ("oci-archive:{0}/absent.tar", r"/absent\.tar does not exist$"),
        ("oci:{0}/file", "is a file, not a directory; an archive is oci-archive:"),
        ("oci-archive:{0}", "is a directory, not a tar file; name it oci:"),
        ("oci-archive:{0}/file/image.tar", r"/image\.tar cannot be read: Not a directory$"),
    ],
)
def test_what_is_not_there(location: str, problem: str, tmp_path: Path, client_for: ClientFor) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidLayoutError, match=problem):
        open_source(location.format(tmp_path), client_for)


@pytest.mark.parametrize(
    ("location", "problem"),
    [
        ("oci:{0}/file", "/file cannot be written: .*/file is not a directory$"),
        ("oci:{0}/file/a/b", "/file/a/b cannot be written: .*/file is not a directory$"),
        (
            "oci-archive:{0}/absent/image.tar",
            r"/image\.tar cannot be written: there is no directory .*/absent$",
        ),
        ("oci-archive:{0}", "is a directory; the archive needs a file's name"),
    ],
)
def test_a_destination_that_cannot_be_is_named_before_anything_is_done(
    location: str, problem: str, tmp_path: Path, client_for: ClientFor
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableError, match=problem), open_sink(location.format(tmp_path), client_for):
        pytest.fail("it was opened")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("form", ["oci:{0}/place/layout:v1", "oci-archive:{0}/place/image.tar:v1"])
def test_a_destination_without_permission_is_named(
    form: str, tmp_path: Path, client_for: ClientFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated, since root may write everywhere."""

    def refuse(*_: object) -> bool:
        raise PermissionError(13, "Permission denied", "some temporary file")

    (tmp_path / "place").mkdir()
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UnwritableError, match=r"place/(layout|image\.tar) cannot be written: .*ermission"):
        open_sink(form.format(tmp_path), client_for).__enter__()


def test_a_full_disk_is_told_with_the_destination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for form in ("oci:{0}/layout", "oci-archive:{0}/image.tar"):
        location = form.format(tmp_path)
        problem = f"^{location.partition(':')[2]}.* cannot be written: No space"
        with pytest.raises(UnwritableError, match=problem), open_sink(location, pytest.fail) as sink:
            write(sink, image("a"))


def test_errors_of_the_body_are_not_the_destinations(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match="of the source"),
        open_sink(f"oci-archive:{tmp_path}/a.tar", pytest.fail),
    ):
        raise OSError("of the source")


@pytest.mark.parametrize("existing", [False, True])
def test_a_directory_is_made_a_layout_when_something_is_stored(
    existing: bool, tmp_path: Path, client_for: ClientFor
) -> None:
    place = tmp_path / "a/b"
    if existing:
        place.mkdir(parents=True)
    with open_sink(f"oci:{place}:v1", client_for) as sink:
        assert not sink.has_blob(LAYER)
        assert list(tmp_path.rglob("*")) == ([tmp_path / "a", place] if existing else [])
        write(sink, image("a"))
    with open_source(f"oci:{place}:v1", client_for) as source:
        check(source, image("a"))


def test_a_directory_that_was_filled_meanwhile_is_left_alone(tmp_path: Path, client_for: ClientFor) -> None:
    with open_sink(f"oci:{tmp_path}", client_for) as sink:
        (tmp_path / "thesis.txt").touch()
        with pytest.raises(InvalidLayoutError, match="not empty"):
            sink.put_manifest(image("a").manifest, media_types.OCI_MANIFEST)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_archives_are_the_same_for_the_same_image(tmp_path: Path, client_for: ClientFor) -> None:
    for name in ("one", "two"):
        with open_sink(f"oci-archive:{tmp_path}/{name}.tar:v1", client_for) as sink:
            write(sink, image("a"))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_a_failed_archive_leaves_the_old_one(tmp_path: Path, client_for: ClientFor) -> None:
    location = f"oci-archive:{tmp_path}/image.tar"
    with open_sink(location, client_for) as sink:
        write(sink, image("a"))
    with pytest.raises(ZeroDivisionError), open_sink(location, client_for) as sink:  # noqa: PT012
        write(sink, image("b"))
        raise ZeroDivisionError
    with pytest.raises(InvalidLayoutError, match="no image"), open_sink(location, client_for) as sink:
        write_blobs(sink, image("b"))
    assert [path.name for path in tmp_path.iterdir()] == ["image.tar"]
    with open_source(location, client_for) as source:
        check(source, image("a"))


def archive(path: Path, *members: tuple[str, bytes | None]) -> None:
    """Writes a tar file; a member without content is a symbolic link."""
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            else:
                member.size = len(content)
            tar.addfile(member, io.BytesIO(content or b""))


def index_of(raw: bytes) -> bytes:
    entry = descriptor(media_types.OCI_MANIFEST, raw).to_json()
    return json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()


def members_of(name: str) -> list[tuple[str, bytes | None]]:
    content = image(name)
    blobs: list[tuple[str, bytes | None]] = [(blob_name(blob.digest), data) for blob, data in content.blobs]
    manifest = (blob_name(Digest.of(content.manifest)), content.manifest)
    return [("oci-layout", LAYOUT_BYTES), ("index.json", index_of(content.manifest)), manifest, *blobs]


def test_archives_of_other_tools(tmp_path: Path, client_for: ClientFor) -> None:
    """With `./` before names, directories, and files that do not belong to the layout."""
    members = [(f"./{name}", content) for name, content in members_of("a")]
    archive(
        tmp_path / "a.tar", *members, ("manifest.json", b"[]"), ("../../evil", b"x"), ("/etc/cron.d/x", b"x")
    )
    with open_source(f"oci-archive:{tmp_path}/a.tar", client_for) as source:
        check(source, image("a"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]
    assert not (tmp_path.parent.parent / "evil").exists()


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([*members_of("a"), ("index.json", index_of(b"other"))], "twice"),
        ([*members_of("a")[1:], ("oci-layout", None)], "no file oci-layout"),
        ([("oci-layout", LAYOUT_BYTES), ("index.json", b"x" * (5 << 20))], "too long"),
        ([("n" * 3_000_000, b"")], "too long"),
        ([(f"n{number}", b"") for number in range(20_001)], "members"),
    ],
)  # fmt: skip
def test_bad_archives(
    members: list[tuple[str, bytes | None]], problem: str, tmp_path: Path, client_for: ClientFor
) -> None:
    archive(tmp_path / "bad.tar", *members)
    with pytest.raises(InvalidLayoutError, match=problem):
        open_source(f"oci-archive:{tmp_path}/bad.tar", client_for)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" * 1000, b"\x1f\x8b" + b"x" * 2000])
def test_what_is_no_tar(content: bytes, tmp_path: Path, client_for: ClientFor) -> None:
    (tmp_path / "bad.tar").write_bytes(content)
    with pytest.raises(InvalidLayoutError, match=r"not an uncompressed tar"):
        open_source(f"oci-archive:{tmp_path}/bad.tar", client_for)


def test_a_truncated_archive(tmp_path: Path, client_for: ClientFor) -> None:
    archive(tmp_path / "a.tar", *members_of("a"))
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[: whole.index(b"a 0a 0") + 100])
    layer = image("a").blobs[1][0]
    with (
        pytest.raises((InvalidLayoutError, SizeMismatchError)),
        open_source(f"oci-archive:{tmp_path}/a.tar", client_for) as source,
        source.open_blob(layer) as stream,
    ):
        stream.read()


def test_an_archive_is_read_by_many_threads(tmp_path: Path, client_for: ClientFor) -> None:
    with open_sink(f"oci-archive:{tmp_path}/a.tar", client_for) as sink:
        write(sink, image("a", 9))
    failures: list[BaseException] = []
    with open_source(f"oci-archive:{tmp_path}/a.tar", client_for) as source:

        def read() -> None:
            try:
                check(source, image("a", 9))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=read) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_the_tag_of_a_registry_is_the_last_thing(registry: FakeRegistry, client_for: ClientFor) -> None:
    with open_sink("docker://registry.test/app:v1", client_for) as sink:
        write_index(sink, [image("a"), image("b")])
    puts = [request.url.path for request in registry.requests if request.method == "PUT"]
    assert puts[-1] == "/v2/app/manifests/v1"
    assert sum(path.endswith("/manifests/v1") for path in puts) == 1


def test_a_tag_is_resolved_once(registry: FakeRegistry, client_for: ClientFor) -> None:
    with open_sink("docker://registry.test/app", client_for) as sink:
        write(sink, image("a"))
    with open_source("docker://registry.test/app", client_for) as source:
        source.manifest()
        with open_sink("docker://registry.test/app:latest", client_for) as sink:
            write(sink, image("b"))
        check(source, image("a"))


def test_an_image_is_not_written_to_a_digest(client_for: ClientFor) -> None:
    with pytest.raises(InvalidLocationError, match="no tag"):
        open_sink(f"docker://registry.test/app@{Digest.of(b'x')}", client_for)
