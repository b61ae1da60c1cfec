import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.oci import Descriptor, Digest, ImageIndex, media_types, parse_manifest
from signer import ReferrersError, SigningKey, merge_referrers, sign_image
from signer.attach import referrer_descriptor
from signer.keys import VerificationKey
from tests.signer.synthetic import synthetic_image
from tests.signer.test_keys import PKCS8


def entry(name: str, artifact_type: str | None = None, **annotations: str) -> Descriptor:
    return Descriptor(
        media_types.OCI_MANIFEST, Digest.of(name.encode()), 100, annotations, artifact_type=artifact_type
    )


def bundle_entry(name: str, predicate_type: str = "t", hint: str = "key") -> Descriptor:
    annotations = {"dev.sigstore.bundle.predicateType": predicate_type, "dev.dragonhook.key-hint": hint}
    return replace(entry(name, media_types.SIGSTORE_BUNDLE), annotations=annotations)


def list_entry(name: str, blob: str, hint: str = "key") -> Descriptor:
    annotations = {"dev.dragonhook.blob": blob, "dev.dragonhook.key-hint": hint}
    return replace(entry(name, media_types.CHUNK_LIST), annotations=annotations)


def digests(raw: bytes) -> list[str]:
    return [item["digest"] for item in json.loads(raw)["manifests"]]


def names(*entries: Descriptor) -> list[str]:
    return [str(item.digest) for item in entries]


def test_a_new_index() -> None:
    one, two = bundle_entry("one", "t1"), bundle_entry("two", "t2")
    raw = merge_referrers(None, [one, two])
    index = parse_manifest(raw)
    assert isinstance(index, ImageIndex)
    assert index.media_type == media_types.OCI_INDEX
    assert index.manifests == (one, two)


def test_one_bundle_for_each_predicate_type_and_key() -> None:
    raw = merge_referrers(None, [bundle_entry("old", "t1"), bundle_entry("other type", "t2")])
    raw = merge_referrers(raw, [bundle_entry("other key", "t1", hint="second")])
    raw = merge_referrers(raw, [bundle_entry("new", "t1")])
    assert digests(raw) == names(entry("new"), entry("other type"), entry("other key"))


def test_one_list_for_each_blob_and_key() -> None:
    raw = merge_referrers(None, [list_entry("a", "A"), list_entry("b", "B")])
    raw = merge_referrers(raw, [list_entry("a2", "A"), list_entry("a3", "A", hint="second")])
    assert digests(raw) == names(entry("a2"), entry("b"), entry("a3"))


def test_nothing_happens_twice() -> None:
    entries = [bundle_entry("a"), list_entry("b", "B"), entry("image")]
    raw = merge_referrers(None, entries, first=entry("image"))
    assert merge_referrers(raw, entries, first=entry("image")) == raw
    assert merge_referrers(raw, []) == raw


def test_the_converted_image_is_first() -> None:
    image, newer = entry("image", media_types.OCI_CONFIG), entry("newer", media_types.OCI_CONFIG)
    raw = merge_referrers(None, [entry("sbom"), entry("signature")])
    raw = merge_referrers(raw, [image], first=image)
    assert digests(raw) == names(image, entry("sbom"), entry("signature"))
    assert digests(merge_referrers(raw, [bundle_entry("bundle")])) == [*digests(raw), *names(entry("bundle"))]
    raw = merge_referrers(raw, [newer], first=newer)
    assert digests(raw) == names(newer, image, entry("sbom"), entry("signature"))


FOREIGN = (
    '{"mediaType":"application/vnd.oci.image.manifest.v1+json",  "size" : 1.0e2,\n'
    ' "digest":"sha512:00","artifactType":"application\\/spdx+json","unknown":{"b":1,"a":[1,  2]},'
    ' "annotations":{"caf\\u00e9":"é"}}'
)


def test_foreign_entries_and_fields_survive_byte_for_byte() -> None:
    existing = (
        '\n{ "annotations" : {"by":"somebody \\/"} , "schemaVersion": 2, "manifests" : [ ' + FOREIGN + " ,\t"
        + FOREIGN.replace("sha512:00", "sha512:01") + '\n],"later": 1.50 }\n'
    )  # fmt: skip
    raw = merge_referrers(existing.encode(), [bundle_entry("ours")], first=entry("image"))
    text = raw.decode()
    assert FOREIGN in text
    assert FOREIGN.replace("sha512:00", "sha512:01") in text
    assert '"annotations":{"by":"somebody \\/"}' in text
    assert '"later":1.50' in text
    assert digests(raw) == [str(entry("image").digest), "sha512:00", "sha512:01", str(entry("ours").digest)]
    assert json.loads(raw)["mediaType"] == media_types.OCI_INDEX
    assert merge_referrers(raw, [bundle_entry("ours")], first=entry("image")) == raw


def test_bundles_of_others_are_not_replaced() -> None:
    """cosign's own entries carry no key hint: there is no telling whose they are."""
    theirs = entry("theirs", media_types.SIGSTORE_BUNDLE, **{"dev.sigstore.bundle.predicateType": "t"})
    bare = entry("bare", media_types.SIGSTORE_BUNDLE)
    raw = merge_referrers(merge_referrers(None, [theirs, bare]), [bundle_entry("ours")])
    assert digests(raw) == names(theirs, bare, entry("ours"))


def test_an_entry_of_ours_that_was_written_by_another_tool_is_replaced_by_digest() -> None:
    stripped = replace(bundle_entry("ours"), annotations={})
    raw = merge_referrers(merge_referrers(None, [entry("a"), stripped, entry("b")]), [bundle_entry("ours")])
    assert digests(raw) == names(entry("a"), entry("ours"), entry("b"))


def test_entries_whose_manifest_is_gone_are_left_out() -> None:
    """Distribution refuses an index that lists a manifest which it no longer has."""
    image = entry("image")
    existing = merge_referrers(None, [image, entry("gone"), bundle_entry("old key"), entry("sbom")])
    gone = {str(item.digest) for item in (entry("gone"), entry("old key"), entry("ours"))}
    raw = merge_referrers(existing, [bundle_entry("ours", hint="new")], gone=gone)
    assert digests(raw) == names(image, entry("sbom"), entry("ours"))  # What is added is there by now.
    later = merge_referrers(raw, [entry("later")])
    assert merge_referrers(later, [bundle_entry("ours", hint="new")], gone=gone) == later


def index_with(**members: Any) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [], **members}
    ).encode()


@pytest.mark.parametrize(
    ("existing", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not JSON"),
        (b"null", "not JSON"),
        (b'{"a":1,"a":2}', "occurs twice"),
        (b'{"manifests":[]} {}', "not JSON"),
        (b'{"manifests":' + b"[" * 100_000, "not JSON"),
        (b"{}", "not an OCI image index"),
        (index_with(manifests={}), "not an OCI image index"),
        (index_with(mediaType=media_types.OCI_MANIFEST), "not an OCI image index"),
        (index_with(mediaType=media_types.DOCKER_INDEX), "not an OCI image index"),
        (index_with(schemaVersion=1), "not an OCI image index"),
        (index_with(manifests=[5]), "an entry without a digest"),
        (index_with(manifests=[{"digest": 5}]), "an entry without a digest"),
    ],
)
def test_something_else_is_never_overwritten(existing: bytes, reason: str) -> None:
    with pytest.raises(ReferrersError, match=reason):
        merge_referrers(existing, [entry("ours")])


def test_the_number_of_entries_is_bounded() -> None:
    full = merge_referrers(None, [entry(str(number)) for number in range(1024)])
    assert merge_referrers(full, [entry("5")]) == full
    with pytest.raises(ReferrersError, match="1025 referrers are over the limit"):
        merge_referrers(full, [entry("one more")])


def test_the_size_is_bounded() -> None:
    with pytest.raises(ReferrersError, match="bytes is over the limit"):
        merge_referrers(None, [entry("large", note="x" * (4 << 20))])


entries = st.lists(
    st.builds(
        bundle_entry, st.sampled_from("abcdef"), st.sampled_from(["t1", "t2"]), st.sampled_from(["k1", "k2"])
    )
    | st.builds(list_entry, st.sampled_from("ghi"), st.sampled_from("AB"), st.sampled_from(["k1", "k2"]))
    | st.builds(entry, st.sampled_from("jkl")),
    max_size=12,
)


@given(entries, entries)
def test_merging_is_stable_and_loses_nothing_foreign(old: list[Descriptor], new: list[Descriptor]) -> None:
    first = merge_referrers(None, old)
    both = merge_referrers(first, new)
    assert merge_referrers(both, []) == both
    found = digests(both)
    assert len(found) == len(set(found))
    foreign = {str(item.digest) for item in [*old, *new] if not item.annotations}
    ours = {str(item.digest) for item in [*old, *new] if item.annotations}
    assert foreign - ours <= set(found)
    if new:
        assert str(new[-1].digest) in found


@given(
    st.binary(max_size=100)
    | st.binary(max_size=60).map(lambda b: b'{"schemaVersion":2,"manifests":[' + b + b"]}")
)
def test_garbage_gives_our_error_and_no_other(existing: bytes) -> None:
    try:
        merged = merge_referrers(existing, [entry("ours")])
    except ReferrersError:
        return
    assert str(entry("ours").digest) in digests(merged)


def test_signing_again_replaces_its_own_entries_only() -> None:
    key, image = SigningKey.from_pem(PKCS8), synthetic_image()
    signed = sign_image(image.request, key)
    raw = merge_referrers(merge_referrers(None, [entry("foreign")]), signed.entries)
    assert merge_referrers(raw, signed.entries) == raw
    later = replace(image.request, issued_at=image.request.issued_at.replace(year=2027))
    again = merge_referrers(raw, sign_image(later, key).entries)
    assert len(digests(again)) == len(digests(raw)) == 1 + 3 + 3
    assert again != raw


def test_entries_are_as_the_referrers_api_gives_them() -> None:
    image = synthetic_image()
    assert referrer_descriptor(image.manifest).artifact_type == media_types.OCI_CONFIG
    signed = sign_image(image.request, SigningKey.from_pem(PKCS8))
    hint = VerificationKey.from_pem(SigningKey.from_pem(PKCS8).public_key.pem).hint
    for artifact, descriptor in zip(signed.referrers, signed.entries, strict=True):
        assert descriptor.digest == artifact.manifest.digest
        assert descriptor.artifact_type == artifact.manifest.artifact_type
        assert descriptor.annotations == artifact.manifest.annotations
        assert descriptor.annotations["dev.dragonhook.key-hint"] == hint
