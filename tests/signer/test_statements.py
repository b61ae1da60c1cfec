import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.oci import Descriptor, Digest, media_types
from signer import InvalidRequestError, MalformedError
from signer.provenance import Provenance, provenance_statement
from signer.statements import Statement, blob_statement, sign_statement
from tests.signer.synthetic import BUILD, REPOSITORY, synthetic_image

SUBJECT = Digest.of(b"an image")
STATEMENT = sign_statement(REPOSITORY, SUBJECT)


def test_canonical_bytes() -> None:
    statement = Statement("t", SUBJECT, None, {"b": "é\n", "a": [1, True], "": 2**53 - 1})
    assert (
        statement.encode()
        == (
            '{"_type":"https://in-toto.io/Statement/v1","predicate":{"":9007199254740991,"a":[1,true],"b":"é\\n"},'
            f'"predicateType":"t","subject":[{{"digest":{{"sha256":"{SUBJECT.hex}"}}}}]}}'
        ).encode()
    )
    assert Statement.parse(statement.encode()) == statement


@pytest.mark.parametrize("value", [2**53, -(2**53), float("nan"), "\ud800"])
def test_values_that_json_cannot_keep(value: object) -> None:
    with pytest.raises(InvalidRequestError, match="cannot be signed"):
        Statement("t", SUBJECT, None, {"a": value}).encode()


Edit = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda s: s.pop("_type"), "not an in-toto statement"),
        (lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"), "not an in-toto statement"),
        (lambda s: s.pop("predicateType"), "lacks predicateType"),
        (lambda s: s.pop("predicate"), "lacks predicateType"),
        (lambda s: s.update(predicate=None), "lacks predicateType"),
        (lambda s: s.update(subject=[]), "exactly one subject"),
        (lambda s: s.update(subject=s["subject"] * 2), "exactly one subject"),
        (lambda s: s.update(subject={}), "exactly one subject"),
        (lambda s: s.update(subject=["x"]), "exactly one subject"),
        (lambda s: s["subject"][0].pop("digest"), "no SHA-256"),
        (lambda s: s["subject"][0].update(digest="sha256"), "no SHA-256"),
        (lambda s: s["subject"][0].update(digest={"sha512": "0"}), "no SHA-256"),
        (lambda s: s["subject"][0].update(digest={"sha256": 5}), "no SHA-256"),
        (lambda s: s["subject"][0].update(digest={"sha256": SUBJECT.hex.upper()}), "no SHA-256"),
    ],
)
def test_other_statements_are_refused(edit: Edit, reason: str) -> None:
    value = json.loads(STATEMENT.encode())
    edit(value)
    with pytest.raises(MalformedError, match=reason):
        Statement.parse(json.dumps(value).encode())


def test_a_key_that_occurs_twice_is_refused() -> None:
    raw = STATEMENT.encode().replace(b'"predicate":{}', b'"predicate":{},"predicate":{"a":1}')
    with pytest.raises(MalformedError, match="occurs twice"):
        Statement.parse(raw)


def test_deep_nesting_is_refused() -> None:
    raw = STATEMENT.encode().replace(b'"predicate":{}', b'"predicate":' + b'{"a":' * 100_000)
    with pytest.raises(MalformedError, match="not JSON"):
        Statement.parse(raw)


def test_blob_statements_are_the_same_for_each_image() -> None:
    blob = synthetic_image().request.blobs[0][0]
    elsewhere = synthetic_image(repository="other.test/app").request.blobs[0][0]
    statement = blob_statement(blob)
    assert statement.encode() == blob_statement(elsewhere).encode()
    assert statement.subject == blob.digest
    assert b"registry" not in statement.encode()
    assert b"2026" not in statement.encode()


SOURCE = replace(synthetic_image().request.source, tag="v1", index_digest=Digest.of(b"index"))


def test_provenance() -> None:
    byproduct = Descriptor(media_types.CHUNK_LIST, Digest.of(b"list"), 104)
    statement = provenance_statement(REPOSITORY, SUBJECT, SOURCE, BUILD, [byproduct])
    assert statement.predicate == {
        "buildDefinition": {
            "buildType": "https://dragonhook.dev/convert/v1",
            "externalParameters": {
                "source": "registry.test:5000/demo/app:v1",
                "target": "registry.test:5000/demo/app",
                "fsVersion": "6",
                "compressor": "zstd",
                "chunkSize": 1048576,
                "kernelMountable": False,
            },
            "internalParameters": {
                "sourceVerification": "not verified",
                "eventId": "320678d8-ca14-430f-8bb6-4ca139cd83f7",
            },
            "resolvedDependencies": [
                {
                    "name": "source",
                    "uri": f"oci://registry.test:5000/demo/app@{SOURCE.digest}",
                    "digest": {"sha256": SOURCE.digest.hex},
                    "mediaType": media_types.OCI_MANIFEST,
                },
                {
                    "name": "source-index",
                    "uri": f"oci://registry.test:5000/demo/app@{Digest.of(b'index')}",
                    "digest": {"sha256": Digest.of(b"index").hex},
                },
            ],
        },
        "runDetails": {
            "builder": {"id": "https://dragonhook.dev/builder", "version": {"dragonhook": "0.1.0"}},
            "metadata": {
                "invocationId": "b6c0e1a4-0d3e-4c55-9f3a-3f0d3f9d7a11",
                "startedOn": "2026-11-23T19:20:00Z",
                "finishedOn": "2026-11-23T19:20:07Z",
            },
            "byproducts": [
                {
                    "name": "chunklist",
                    "digest": {"sha256": Digest.of(b"list").hex},
                    "mediaType": "application/vnd.dragonhook.chunklist.v1",
                }
            ],
        },
    }
    assert Provenance.from_predicate(statement.predicate) == Provenance(
        "https://dragonhook.dev/convert/v1", "https://dragonhook.dev/builder", SOURCE.digest
    )


def test_provenance_names_the_chunk_dictionary() -> None:
    lenders = (Digest.of(b"newer"), Digest.of(b"older"))
    statement = provenance_statement(REPOSITORY, SUBJECT, SOURCE, replace(BUILD, dictionary=lenders))
    dependencies = statement.predicate["buildDefinition"]["resolvedDependencies"]
    assert dependencies[2:] == [
        {
            "name": "chunk-dictionary",
            "uri": f"oci://registry.test:5000/demo/app@{lender}",
            "digest": {"sha256": lender.hex},
        }
        for lender in lenders
    ]
    assert Provenance.from_predicate(statement.predicate).dictionary == lenders


def test_parameters_cannot_replace_what_the_signer_states() -> None:
    build = replace(BUILD, parameters={"source": "x"}, trigger={"sourceVerification": "verified"})
    definition = provenance_statement(REPOSITORY, SUBJECT, SOURCE, build).predicate["buildDefinition"]
    assert definition["externalParameters"]["source"] == "registry.test:5000/demo/app:v1"
    assert definition["internalParameters"]["sourceVerification"] == "not verified"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda p: p.pop("runDetails"), "provenance.runDetails"),
        (lambda p: p["runDetails"].update(builder="x"), "provenance.runDetails.builder"),
        (lambda p: p["runDetails"]["builder"].update(id=""), "builder.id"),
        (lambda p: p["buildDefinition"].update(buildType=1), "buildType"),
        (lambda p: p["buildDefinition"].update(resolvedDependencies=[]), "0 dependencies called source"),
        (
            lambda p: p["buildDefinition"].update(
                resolvedDependencies=[p["buildDefinition"]["resolvedDependencies"][0]] * 2
            ),
            "2 dependencies called source",
        ),
        (
            lambda p: p["buildDefinition"]["resolvedDependencies"][0].update(digest={"sha512": ""}),
            "digest.sha256",
        ),
    ],
)
def test_malformed_provenance_is_refused(edit: Edit, reason: str) -> None:
    statement = provenance_statement(REPOSITORY, SUBJECT, SOURCE, BUILD)
    predicate = copy.deepcopy(dict(statement.predicate))
    edit(predicate)
    with pytest.raises(MalformedError, match=reason):
        Provenance.from_predicate(predicate)


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v))
)
def test_garbage_provenance_gives_our_error(value: object) -> None:
    with pytest.raises(MalformedError):
        Provenance.from_predicate(value)
