"""dragonhook unpack, export and mount, from the command line."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result

from converter.oci import media_types
from registry_hook import logs
from registry_hook.cli import clients, main
from tests.converter.sharing_images import noise
from tests.images.layout import build_image, read_image
from tests.images.tar import directory, encode_tar, file, symlink
from tests.peers.programs import find_program, run_command
from tests.registry_hook.simulated_registry import SimulatedRegistry
from tests.registry_hook.test_cli_check import write_index
from tests.registry_hook.world import small_image
from tests.trees import assert_same_tree, snapshot

CONTENT = noise(1, 10_000)
IMAGE = build_image(
    [
        encode_tar([directory("d", 0o700), file("d/a", CONTENT, mode=0o640), file("gone", b"gone")]),
        encode_tar([file(".wh.gone", b""), symlink("link", "d/a")]),
    ]
)


FORMS = {
    "reference": ("--oci-ref",),
    "v5": ("--fs-version", "5"),
    "dictionary": ("--chunk-dict", "oci:lender:v1"),
    "kernel": ("--kernel-mountable",),
    "merged": ("--merged-index",),
}


def convert_as(form: str) -> None:
    """Converts the image to another form, in the layout `form`; a dictionary has one of its files."""
    if form == "dictionary":
        build_image([encode_tar([file("x", CONTENT)])]).write_layout(Path("lent"), "v1")
        assert run("convert", "oci:lent:v1", "oci:lender:v1", "--threads", "1").exit_code == 0
    result = run("convert", "oci:in:v1", "oci:form:v1", "--threads", "1", *FORMS[form])
    assert result.exit_code == 0, result.output


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    IMAGE.write_layout(tmp_path / "in", "v1")
    assert run("convert", "oci:in:v1", "oci:nydus:v1", "--threads", "1").exit_code == 0


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_unpack_writes_the_files(tmp_path: Path) -> None:
    result = run("unpack", "oci:nydus:v1", "out")
    assert result.exit_code == 0, result.output
    assert "3 names, 10000 bytes of files in out" in result.output
    assert (tmp_path / "out/link").read_bytes() == CONTENT
    again = run("unpack", "oci:nydus:v1", "out")
    assert again.exit_code == 1
    assert again.output == "Error: out is not empty: name a directory that is, or none\n"


@pytest.mark.parametrize("destination", ["oci:plain:v2", "oci-archive:plain.tar:v2"])
def test_export_gives_an_image_that_converts_to_the_same_tree(destination: str, tmp_path: Path) -> None:
    result = run("export", "oci:nydus:v1", destination)
    assert result.exit_code == 0, result.output
    assert run("convert", destination, "oci:again:v2", "--threads", "1").exit_code == 0
    assert run("check", destination, "oci:again:v2").exit_code == 0
    for name, reference in (("one", "oci:nydus:v1"), ("two", "oci:again:v2")):
        assert run("unpack", reference, name).exit_code == 0
    assert_same_tree(snapshot(tmp_path / "one"), snapshot(tmp_path / "two"))
    if destination == "oci:plain:v2":
        assert result.output.strip() == str(read_image(tmp_path / "plain", "v2").manifest.digest)


@pytest.mark.parametrize("form", FORMS)
def test_the_way_back_is_the_same_from_every_form(form: str, tmp_path: Path) -> None:
    convert_as(form)
    for name, reference in (("usual", "oci:nydus:v1"), ("other", "oci:form:v1")):
        result = run("unpack", reference, name)
        assert result.exit_code == 0, result.output
    assert_same_tree(snapshot(tmp_path / "usual"), snapshot(tmp_path / "other"))
    exported = [
        run("export", reference, f"oci:{reference[4:-3]}-plain:v1")
        for reference in ("oci:nydus:v1", "oci:form:v1")
    ]
    assert [result.exit_code for result in exported] == [0, 0], exported
    assert exported[0].output == exported[1].output


@pytest.mark.parametrize("form", FORMS)
def test_no_changed_byte_of_content_comes_back(form: str, tmp_path: Path) -> None:
    """Each chunk is checked where it is used, whichever blob it is in."""
    convert_as(form)
    paths = [tmp_path / "form/blobs/sha256" / blob for made in nydus_manifests() for blob in data_blobs(made)]
    (victim,) = {path for path in paths if path.stat().st_size > len(CONTENT)}
    stored = bytearray(victim.read_bytes())
    stored[5000] ^= 1
    victim.write_bytes(stored)
    for command, target in (("unpack", "files"), ("export", "oci:plain:v1")):
        result = run(command, "oci:form:v1", target)
        assert result.exit_code == 1, result.output
        assert victim.name in result.output


def nydus_manifests() -> list[dict]:  # type: ignore[type-arg]
    """The manifests of the Nydus images in the layout `form`."""
    contents = [path.read_bytes() for path in Path("form/blobs/sha256").iterdir()]
    found = [json.loads(content) for content in contents if content.startswith(b"{")]
    return [
        document
        for document in found
        if len(document.get("layers", ())) > 1
        and media_types.ANNOTATION_NYDUS_BOOTSTRAP in document["layers"][-1].get("annotations", {})
    ]


def data_blobs(manifest: dict) -> list[str]:  # type: ignore[type-arg]
    """The digests, in digits, of what holds the content: blobs, or the layers that these refer to."""
    digests = [
        layer["annotations"].get(media_types.ANNOTATION_NYDUS_REF, layer["digest"])
        for layer in manifest["layers"][:-1]
    ]
    return [digest.removeprefix("sha256:") for digest in dict.fromkeys(digests)]


def test_mount_prints_a_command_and_writes_what_it_reads(tmp_path: Path) -> None:
    result = run("mount", "oci:nydus:v1", "mnt")
    assert result.exit_code == 0, result.output
    command = shlex.split(result.output)
    state = tmp_path / "mnt.nydusd"
    assert command[:6] == [
        "nydusd", "fuse", "--mountpoint", str(tmp_path / "mnt"), "--bootstrap", str(state / "image.boot"),
    ]  # fmt: skip
    config = json.loads((state / "nydusd.json").read_bytes())
    assert config["backend"] == {"type": "localfs", "localfs": {"dir": str(tmp_path / "nydus/blobs/sha256")}}
    assert config["cache"]["validate"] is True
    assert config["rafs"]["validate"] is False
    assert len(list((state / "cache").iterdir())) == 1


def test_mount_leaves_what_a_running_nydusd_has_mapped() -> None:
    assert run("mount", "oci:nydus:v1", "mnt").exit_code == 0
    state = Path("mnt.nydusd")
    files = [state / "image.boot", state / "nydusd.json", *(state / "cache").iterdir()]
    opened = [(file.open("rb"), file.read_bytes()) for file in files]
    assert run("mount", "oci:nydus:v1", "mnt").exit_code == 0
    for path, (old, content) in zip(files, opened, strict=True):
        with old:
            assert path.stat().st_ino != os.fstat(old.fileno()).st_ino
            assert old.read() == content
    assert {*state.rglob("*")} == {*files, state / "cache"}


def test_mount_refuses_a_directory_that_is_mounted_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "mnt")
    result = run("mount", "oci:nydus:v1", "mnt")
    assert result.exit_code == 2, result.output
    assert (
        result.output == "Error: something is mounted on mnt: unmount it first, or name another directory\n"
    )
    assert not Path("mnt.nydusd").exists()


class RedirectingRegistry(SimulatedRegistry):
    """Redirects each HEAD of a blob once an image is there, as a registry in front of a store does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self.tags and request.method == "HEAD" and "/blobs/" in request.url.path:
            return httpx.Response(307, headers={"Location": "http://store.test/data"})
        return super().handle_request(request)


@pytest.mark.parametrize(
    ("registry", "options", "validates", "warns"),
    [
        (SimulatedRegistry(), (), True, False),
        (SimulatedRegistry(), ("--no-validate",), False, False),
        (RedirectingRegistry(), (), False, True),
        (RedirectingRegistry(), ("--validate",), True, False),
    ],
)
def test_nydusd_checks_chunks_where_the_registry_lets_it(
    registry: SimulatedRegistry,
    options: tuple[str, ...],
    validates: bool,
    warns: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clients, "RegistryClient", lambda *_: registry.client())
    assert run("convert", "oci:in:v1", "docker://r.example/app:v1", "--threads", "1").exit_code == 0
    result = run("mount", "docker://r.example/app:v1", "mnt", *options)
    assert result.exit_code == 0, result.output
    assert json.loads(Path("mnt.nydusd/nydusd.json").read_bytes())["cache"]["validate"] is validates
    assert ("warning: nydusd will not check what it reads: r.example redirects" in result.stderr) is warns
    assert result.stdout.startswith("nydusd fuse")


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize(
    "form", [*list(FORMS)[:3], *(pytest.param(form, marks=pytest.mark.full) for form in list(FORMS)[3:])]
)
def test_what_mount_runs_shows_what_unpack_writes(form: str, tmp_path: Path) -> None:
    convert_as(form)
    assert run("unpack", "oci:nydus:v1", "out").exit_code == 0
    program = find_program("nydusd")
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "registry_hook.cli", "mount", "--run", "oci:form:v1", "mnt"]
    process = subprocess.Popen(command, env=environment | {"PYTHONPATH": os.pathsep.join(sys.path)})
    mountpoint = tmp_path / "mnt"
    try:
        deadline = time.monotonic() + 20
        while not os.path.ismount(mountpoint):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        # Who asks before nydusd has loaded the image is shown an empty root, and its attributes for a while.
        while not os.listdir(mountpoint) and time.monotonic() < deadline:
            time.sleep(0.05)
        shown = snapshot(mountpoint)
        assert_same_tree({**snapshot(tmp_path / "out"), b".": shown[b"."]}, shown)
    finally:
        process.terminate()
        process.wait(10)
        if os.path.ismount(mountpoint):
            run_command(["umount", "--lazy", str(mountpoint)])


def test_one_image_of_an_index_has_to_be_chosen(tmp_path: Path) -> None:
    write_index(tmp_path / "two", (small_image("a"), "amd64"), (small_image("b", "arm64"), "arm64"))
    assert run("convert", "oci:two:v1", "oci:index:v1").exit_code == 0
    refused = run("unpack", "oci:index:v1", "out")
    assert refused.exit_code == 1
    assert "choose one by --platform out of linux/amd64, linux/arm64" in refused.output
    assert run("unpack", "oci:index:v1", "out", "--platform", "linux/arm64").exit_code == 0
    assert (tmp_path / "out/etc/motd").read_bytes() == b"b"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("unpack", "oci:in:v1", "out"), 1, "not a Nydus image but a plain one"),
        (("export", "oci:in:v1", "oci:plain:v1"), 1, "not a Nydus image but a plain one"),
        (("mount", "oci:in:v1", "mnt"), 1, "not a Nydus image but a plain one"),
        (("mount", "oci-archive:in.tar:v1", "mnt"), 2, "nydusd reads blobs of oci:DIR"),
        (("unpack", "dir:x", "out"), 2, "dir:x"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: tuple[str, ...], status: int, message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == status, result.output
    assert message in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [("check", "oci:in:v1", "oci:one:v1"), ("unpack", "oci:one:v1", "out"),
     ("export", "oci:one:v1", "oci:plain:v1"), ("mount", "oci:one:v1", "mnt")],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_one_file_needs_none_of_them_and_says_so(arguments: tuple[str, ...]) -> None:
    assert run("convert", "oci:in:v1", "oci:one:v1", "--one-file").exit_code == 0
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert "is not a Nydus image but an EROFS file system, which Linux mounts by itself" in result.output
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [("check", "oci:two:v1", "oci:files:v1"), ("unpack", "oci:files:v1", "out"),
     ("export", "oci:files:v1", "oci:plain:v1"), ("inspect", "--dump", "oci:files:v1")],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_an_index_of_one_file_images_is_named_as_well(arguments: tuple[str, ...], tmp_path: Path) -> None:
    write_index(tmp_path / "two", (small_image("a"), "amd64"), (small_image("b", "arm64"), "arm64"))
    assert run("convert", "oci:two:v1", "oci:files:v1", "--one-file").exit_code == 0
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert "an EROFS file system, which Linux mounts by itself (mount -o loop" in result.output
    assert "fsck.erofs" in result.output
    assert result.output.count("\n") == 1
    assert run("inspect", "oci:files:v1").output.startswith("oci:files:v1: erofs index\n")


def test_an_index_without_a_nydus_image_is_told_from_one_with_several(tmp_path: Path) -> None:
    write_index(tmp_path / "two", (small_image("a"), "amd64"), (small_image("b", "arm64"), "arm64"))
    plain = run("unpack", "oci:two:v1", "out")
    assert plain.exit_code == 1
    assert plain.output.rstrip().endswith("has no Nydus image")
    assert run("convert", "oci:two:v1", "oci:index:v1", "--merged-index").exit_code == 0
    other = run("unpack", "oci:index:v1", "out", "--platform", "linux/s390x")
    assert "has no Nydus image for linux/s390x, only for linux/amd64, linux/arm64" in other.output
    several = run("unpack", "oci:index:v1", "out")
    assert "choose one by --platform out of linux/amd64, linux/arm64\n" in several.output
    assert run("unpack", "oci:index:v1", "out", "--platform", "linux/arm64").exit_code == 0
