from __future__ import annotations

import pytest

from converter.oci import Digest
from registry_hook.gateway.answers import blob_answer, error_answer, parse_path

DIGEST = Digest("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
PATH = f"/docker/registry/v2/blobs/sha256/e3/{DIGEST.hex}/data"
ENTITY_TAG = f'"{DIGEST}"'


@pytest.mark.parametrize(
    "prefix",
    ["", "/p2p", "/p2p/reg", "/bucket/some/prefix", "//", "/%20", "/docker/registry/v2/blobs/sha256/e3"],
)
def test_any_prefix_is_allowed(prefix: str) -> None:
    assert parse_path(prefix + PATH) == DIGEST


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        PATH[1:],
        f"x{PATH}",
        f"{PATH}/",
        f"{PATH}\n",
        f"{PATH}?x=1",
        PATH.replace("/e3/", "/e4/"),
        PATH.replace("/e3/", "/E3/"),
        PATH.replace("/e3/", "/"),
        PATH.upper(),
        PATH.replace(DIGEST.hex, DIGEST.hex.upper()),
        PATH.replace("855/data", "85/data"),
        PATH.replace("/data", "0/data"),
        PATH.replace("sha256", "sha512"),
        PATH.replace("/data", "/link"),
        PATH.replace("/e3/", "/e3/../"),
        PATH.replace("/data", "%2fdata"),
        f"/evil?{PATH}",
        f"/evil#{PATH}",
        f"http://host{PATH}",
        f"/docker/registry/v2/repositories/x/_layers/sha256/{DIGEST.hex}/link",
    ],
)
def test_other_paths_name_no_blob(path: str) -> None:
    assert parse_path(path) is None


def test_the_digest_of_a_prefixed_path_is_the_last_one() -> None:
    other = Digest.of(b"x")
    inner = f"/docker/registry/v2/blobs/sha256/{other.hex[:2]}/{other.hex}/data"
    assert parse_path(PATH + inner) == other


def test_the_headers_of_a_whole_blob() -> None:
    answer = blob_answer("GET", {}, DIGEST, 1000)
    assert (answer.status, answer.start, answer.length) == (200, 0, 1000)
    assert answer.headers == {
        "Server": "dragonhook",
        "ETag": ENTITY_TAG,
        "Docker-Content-Digest": str(DIGEST),
        "Cache-Control": "max-age=31536000, immutable",
        "Accept-Ranges": "bytes",
        "Content-Type": "application/octet-stream",
        "Content-Length": "1000",
    }


def test_the_headers_of_a_part() -> None:
    answer = blob_answer("GET", {"Range": "bytes=10-19"}, DIGEST, 1000)
    assert (answer.status, answer.start, answer.length) == (206, 10, 10)
    assert answer.headers["Content-Range"] == "bytes 10-19/1000"
    assert answer.headers["Content-Length"] == "10"
    assert answer.headers["ETag"] == ENTITY_TAG


def test_a_range_without_satisfaction() -> None:
    answer = blob_answer("GET", {"Range": "bytes=1000-"}, DIGEST, 1000)
    assert (answer.status, answer.length) == (416, 0)
    assert answer.headers["Content-Range"] == "bytes */1000"
    assert answer.headers["Content-Length"] == "0"
    assert "max-age" not in answer.headers["Cache-Control"]


def test_head_tells_the_size_and_knows_no_ranges() -> None:
    answer = blob_answer("HEAD", {"Range": "bytes=10-19"}, DIGEST, 1000)
    assert (answer.status, answer.length, answer.headers["Content-Length"]) == (200, 0, "1000")


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (ENTITY_TAG, 206),
        (f" {ENTITY_TAG} ", 206),
        (f"W/{ENTITY_TAG}", 200),  # Section 13.1.5 wants the strong comparison.
        ('"other"', 200),
        (str(DIGEST), 200),
        ("Mon, 23 Nov 2026 19:18:47 GMT", 200),
        ("", 200),
    ],
)
def test_if_range(condition: str, status: int) -> None:
    answer = blob_answer("GET", {"Range": "bytes=10-19", "If-Range": condition}, DIGEST, 1000)
    assert answer.status == status
    assert answer.length == (10 if status == 206 else 1000)


def test_if_range_alone_changes_nothing() -> None:
    assert blob_answer("GET", {"If-Range": '"other"'}, DIGEST, 1000).status == 200


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        (ENTITY_TAG, 304),
        (f"W/{ENTITY_TAG}", 304),
        (f'"a", {ENTITY_TAG}', 304),
        (f'"a,b",{ENTITY_TAG},"c"', 304),
        ("*", 304),
        ('"other"', 200),
        (str(DIGEST), 200),
        ("", 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_if_none_match(method: str, condition: str, status: int) -> None:
    answer = blob_answer(method, {"If-None-Match": condition}, DIGEST, 1000)
    assert answer.status == status
    if status == 304:
        assert answer.length == 0
        assert answer.headers["ETag"] == ENTITY_TAG
        assert "max-age" in answer.headers["Cache-Control"]


def test_if_none_match_comes_before_range() -> None:
    headers = {"If-None-Match": ENTITY_TAG, "Range": "bytes=5000-"}
    assert blob_answer("GET", headers, DIGEST, 1000).status == 304


@pytest.mark.parametrize(
    ("condition", "status"),
    [(ENTITY_TAG, 200), ("*", 200), ('"other"', 412), (f"W/{ENTITY_TAG}", 412)],
)
def test_if_match(condition: str, status: int) -> None:
    assert blob_answer("GET", {"If-Match": condition}, DIGEST, 1000).status == status


def test_errors_have_no_body_and_are_not_cached() -> None:
    answer = error_answer(403)
    assert (answer.status, answer.length) == (403, 0)
    assert answer.headers["Content-Length"] == "0"
    assert answer.headers["Cache-Control"] == "no-store"
