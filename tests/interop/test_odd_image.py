"""The odd image, converted by us and read by nydusd, nydus-image, the kernel and erofs-utils."""

from __future__ import annotations

from pathlib import Path

import pytest

from converter.errors import ConvertError
from converter.oci import media_types
from converter.options import ConvertOptions
from tests.images.layout import Compression
from tests.images.odd import REFUSED, ROOTS, Case, case_image, named, odd_image
from tests.interop.blobs import chunks
from tests.interop.containerd import Containerd
from tests.interop.conversion import Conversion, convert
from tests.interop.readers import by_fsck, by_kernel, by_nydusd, check, check_all
from tests.interop.truth import UNLISTED_TIMES, converted_cases
from tests.peers.programs import ProgramError, run_program
from tests.trees import Tree, assert_same_tree, wrong_link_counts

# Every other form is in the table of `docs/compatibility.md`, which leaves only the largest directories out.
FORMS = {
    "zstd": ConvertOptions(),
    "kernel": ConvertOptions(compressor="none", kernel_mountable=True),
}
COMPRESSIONS: tuple[Compression, ...] = ("gzip", "zstd", "plain", "stored-gzip")
# `nydus-image check` 2.2 wants something behind each known beginning of an attribute's name, but the name of
# an ACL is the beginning itself (nydus-rafs 0.2.2, RafsXAttrs::add).
REFUSED_BY_CHECK = {"xattr-acl", "xattr-acl-default"}
# What `fsck.erofs --extract` of erofs-utils 1.5 does not write.
LOST_BY_FSCK = ("mode", "uid", "gid", "mtime_s", "links", "group", "xattrs")


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def conversions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Conversion]:
    """The odd image in each form, converted when first asked for."""
    image = odd_image(converted_cases(), COMPRESSIONS)
    directory = tmp_path_factory.mktemp("odd")
    return {name: convert(image, directory / name, options) for name, options in FORMS.items()}


@pytest.mark.root
@pytest.mark.interop
def test_nydusd_shows_the_truth(
    form: str, conversions: dict[str, Conversion], odd_tree: Tree, tmp_path: Path
) -> None:
    shown = by_nydusd(conversions[form], tmp_path / "nydusd")
    assert_same_tree(odd_tree, shown)
    assert wrong_link_counts(shown) == []


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_nydusd_finds_a_flipped_byte_by_the_digests_in_the_blob(
    options: ConvertOptions, tmp_path: Path
) -> None:
    conversion = convert(case_image(named("content-chunks")), tmp_path / "converted", options)
    (device,) = conversion.devices()
    content = bytearray(device.read_bytes())
    content[chunks(bytes(content))[0].compressed_offset + 100] ^= 1
    device.write_bytes(content)
    shown = by_nydusd(conversion, tmp_path / "nydusd")
    unreadable = [path for path, node in shown.items() if node.sha256.startswith("cannot be read")]
    assert unreadable == [b"f1048575"]


@pytest.mark.root
@pytest.mark.interop
def test_unlisted_directories_keep_the_time_of_their_last_listing(
    conversions: dict[str, Conversion], tmp_path: Path
) -> None:
    shown = by_nydusd(conversions["zstd"], tmp_path / "nydusd")
    assert {path: shown[path].mtime_s for path in UNLISTED_TIMES} == UNLISTED_TIMES


@pytest.mark.interop
@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_nydus_image_accepts_every_bootstrap(options: ConvertOptions, tmp_path: Path) -> None:
    cases = [case for case in converted_cases() if case.name not in REFUSED_BY_CHECK]
    conversion = convert(odd_image(cases, COMPRESSIONS), tmp_path / "converted", options)
    check_all(conversion, tmp_path)


@pytest.mark.interop
@pytest.mark.parametrize("name", sorted(REFUSED_BY_CHECK))
def test_nydus_image_refuses_what_nydusd_and_the_kernel_read(name: str, tmp_path: Path) -> None:
    """If this fails, nydus-image has become better, and `REFUSED_BY_CHECK` can go."""
    conversion = convert(case_image(named(name)), tmp_path / "converted", ConvertOptions())
    with pytest.raises(ProgramError, match="invalid xattr key"):
        check(conversion.bootstrap)


@pytest.mark.root
@pytest.mark.peers
def test_the_kernel_mounts_the_blobs_themselves(
    conversions: dict[str, Conversion], odd_tree: Tree, tmp_path: Path
) -> None:
    conversion = conversions["kernel"]
    shown = by_kernel(conversion.bootstrap, conversion.devices(), tmp_path / "mnt")
    assert_same_tree(odd_tree, shown)
    assert wrong_link_counts(shown) == []


@pytest.mark.root
@pytest.mark.peers
def test_the_kernel_mounts_expanded_blobs_of_every_form(
    form: str, conversions: dict[str, Conversion], odd_tree: Tree, tmp_path: Path
) -> None:
    conversion = conversions[form]
    shown = by_kernel(
        conversion.bootstrap, conversion.expanded_devices(tmp_path / "devices"), tmp_path / "mnt"
    )
    assert_same_tree(odd_tree, shown)


@pytest.mark.root
@pytest.mark.peers
def test_fsck_extracts_the_same_names_types_and_bytes(
    form: str, conversions: dict[str, Conversion], odd_tree: Tree, tmp_path: Path
) -> None:
    conversion = conversions[form]
    devices = conversion.expanded_devices(tmp_path / "devices")
    assert_same_tree(odd_tree, by_fsck(conversion.bootstrap, devices, tmp_path / "out"), LOST_BY_FSCK)


@pytest.mark.root
@pytest.mark.peers
def test_fsck_reads_the_blobs_of_the_kernel_form_themselves(
    conversions: dict[str, Conversion], odd_tree: Tree, tmp_path: Path
) -> None:
    conversion = conversions["kernel"]
    shown = by_fsck(conversion.bootstrap, conversion.devices(), tmp_path / "out")
    assert_same_tree(odd_tree, shown, LOST_BY_FSCK)
    layers = {layer.digest.hex: layer for layer in conversion.image.manifest.layers}
    for blob in conversion.devices():
        measured = run_program("fsverity", "digest", "--compact", blob).strip()
        assert layers[blob.name].annotations[media_types.ANNOTATION_FS_VERITY] == f"sha256:{measured}"


@pytest.mark.root
@pytest.mark.interop
@pytest.mark.parametrize(
    "case", [case for case in ROOTS if case.name not in REFUSED], ids=lambda case: case.name
)
def test_the_root_is_right(case: Case, truth_containerd: Containerd, tmp_path: Path) -> None:
    truth = truth_containerd.unpack(case_image(case))
    conversion = convert(case_image(case), tmp_path / "converted", ConvertOptions())
    check(conversion.bootstrap)
    shown = by_nydusd(conversion, tmp_path / "nydusd")
    assert_same_tree(truth, shown)
    assert wrong_link_counts(shown) == []


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_unpacked_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"^[^\n]+$"):
        convert(case_image(named(name)), tmp_path, ConvertOptions())
