"""The table of what a notification asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converter.oci import Digest
from registry_hook.notification import (
    CONTENT_TYPES,
    MAX_EVENTS,
    Decision,
    Ignored,
    Instance,
    SetAside,
    WantedPush,
    decide,
    is_artifact_tag,
)

V1, V2 = CONTENT_TYPES
HEX = "520b5bf69f7196ec44de7c06d7fa0bda7073c91c90b7707d80e865a14d3da843"
DIGEST = f"sha256:{HEX}"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
SOURCE = {"addr": "vm:5000", "instanceID": "01a209d8-4cd3-767c-8e9b-4f1f0fd813c9"}
INSTANCE = Instance("vm:5000", "01a209d8-4cd3-767c-8e9b-4f1f0fd813c9")


def event(**changes: Any) -> dict[str, Any]:
    """A push of 3.1.2, as captured, with changes to the target (or to the event, for its own fields)."""
    target = {
        "mediaType": MANIFEST, "digest": DIGEST, "size": 345, "length": 345, "repository": "demo/app",
        "url": f"http://127.0.0.1:5123/v2/demo/app/manifests/{DIGEST}", "tag": "v1",
    }  # fmt: skip
    whole: dict[str, Any] = {
        "id": "01a209d8-b813-7244-9180-c884967949b2", "timestamp": "2026-11-23T19:18:47.571150506Z",
        "action": "push", "target": target, "request": {}, "actor": {}, "source": SOURCE,
    }  # fmt: skip
    for name, value in changes.items():
        place = whole if name in whole else target
        if value is None:
            place.pop(name, None)
        else:
            place[name] = value
    return whole


def decide_one(value: object, content_type: str = V2) -> Decision:
    decisions = decide(json.dumps({"events": [value]}).encode(), content_type)
    assert len(decisions) == 1
    return decisions[0]


WANTED = WantedPush("01a209d8-b813-7244-9180-c884967949b2", "demo/app", "v1", Digest(HEX), INSTANCE)


@pytest.mark.parametrize("content_type", [V1, V2, f"{V1}; charset=utf-8", V2.upper()])
def test_a_tagged_push_of_a_manifest_is_wanted(content_type: str) -> None:
    assert decide_one(event(), content_type) == WANTED


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "",
        None,
    ],
)
def test_every_kind_of_manifest_is_wanted_and_an_absent_type_is_decided_later(media_type: str | None) -> None:
    assert decide_one(event(mediaType=media_type)) == WANTED


def test_the_url_and_the_sizes_are_not_needed() -> None:
    assert decide_one(event(url=None, size=None, length=None, request=None, actor=None)) == WANTED


def test_a_missing_source_is_no_reason_to_lose_a_push() -> None:
    decision = decide_one(event(source=None))
    assert isinstance(decision, WantedPush)
    assert decision.instance is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"action": "pull"}, "action pull"),
        ({"action": "mount"}, "action mount"),
        ({"action": "delete", "digest": "", "mediaType": ""}, "action delete"),
        ({"mediaType": "application/octet-stream", "tag": None}, "a blob"),
        ({"mediaType": "application/vnd.example+json"}, "not an image manifest or index"),
        ({"tag": None}, "a manifest without a tag"),
        ({"tag": ""}, "a manifest without a tag"),
        ({"tag": f"sha256-{HEX}"}, "an artifact's tag"),
        ({"tag": f"sha256-{HEX}.sig"}, "an artifact's tag"),
        ({"tag": f"sha256-{HEX}.dh-chunks"}, "an artifact's tag"),
    ],
)
def test_what_is_understood_and_not_wanted_is_ignored(changes: dict[str, Any], reason: str) -> None:
    assert decide_one(event(**changes)) == Ignored(reason, INSTANCE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": None}, "a push without a digest"),
        ({"digest": ""}, "a push without a digest"),
        ({"digest": "sha512:" + "0" * 128}, "the digest is not sha256"),
        ({"digest": 7}, "the digest is not sha256"),
        ({"action": "teleport"}, "unknown action 'teleport'"),
        ({"target": None}, "a push without a target"),
        ({"target": ["x"]}, "a push without a target"),
        ({"repository": None}, "the repository is malformed"),
        ({"repository": "../etc"}, "the repository is malformed"),
        ({"tag": "v1/../x"}, "the tag is malformed"),
        ({"tag": {"a": 1}}, "the tag is malformed"),
        ({"id": None}, "the event has no id"),
        ({"id": "x" * 201}, "the event has no id"),
    ],
)
def test_what_is_not_understood_is_set_aside(changes: dict[str, Any], reason: str) -> None:
    assert decide_one(event(**changes)) == SetAside(reason, INSTANCE)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b'{"events": {}}',
        b'{"event": []}',
        b"\xff\xfe",
        b'{"events":' * 1,
        b"[" * 100_000,
    ],
)
def test_a_body_that_is_no_envelope_is_set_aside(body: bytes) -> None:
    (decision,) = decide(body, V1)
    assert isinstance(decision, SetAside)


@pytest.mark.parametrize("content_type", [None, "", "application/json", "text/plain"])
def test_another_content_type_is_set_aside(content_type: str | None) -> None:
    (decision,) = decide(json.dumps({"events": [event()]}).encode(), content_type)
    assert isinstance(decision, SetAside)


def test_each_event_of_an_envelope_is_decided_for_itself() -> None:
    events = [event(digest=""), 7, event(), event(action="pull"), event(tag="v2", id="b")]
    decisions = decide(json.dumps({"events": events}).encode(), V1)
    kinds = [type(decision) for decision in decisions]
    assert kinds == [SetAside, SetAside, WantedPush, Ignored, WantedPush]


def test_too_many_events_are_not_made_into_objects() -> None:
    (decision,) = decide(b'{"events":[' + b"0," * MAX_EVENTS + b"0]}", V1)
    assert isinstance(decision, SetAside)
    assert str(MAX_EVENTS + 1) in decision.reason


def test_an_empty_envelope_asks_for_nothing() -> None:
    assert decide(b'{"events": []}', V2) == []


def test_artifact_tags() -> None:
    assert is_artifact_tag(f"sha256-{HEX}")
    assert is_artifact_tag(f"sha256-{HEX}.att")
    assert not is_artifact_tag(f"sha256-{HEX}0")
    assert not is_artifact_tag("sha256-abc")
    assert not is_artifact_tag(f"my-sha256-{HEX}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=20,
)
FIELDS = ("id", "action", "target", "source")
TARGET_FIELDS = ("mediaType", "digest", "repository", "tag", "size")


@given(JSON, st.sampled_from((*FIELDS, *TARGET_FIELDS)))
def test_no_value_of_any_field_raises(value: object, name: str) -> None:
    changed = event()
    (changed if name in FIELDS else changed["target"])[name] = value
    assert isinstance(decide_one(changed), WantedPush | Ignored | SetAside)


@given(st.binary(max_size=200))
def test_no_body_raises(body: bytes) -> None:
    decide(body, V1)
