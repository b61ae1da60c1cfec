import pytest

from converter.oci import Digest, InvalidReferenceError, Reference

DIGEST = Digest.of(b"")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost/a", Reference("localhost", "a")),
        ("127.0.0.1:5000/team/app:v1", Reference("127.0.0.1:5000", "team/app", "v1")),
        (f"r.example/app@{DIGEST}", Reference("r.example", "app", None, DIGEST)),
        (f"r.example/app:v1-nydus@{DIGEST}", Reference("r.example", "app", "v1-nydus", DIGEST)),
        ("[::1]:5000/a/b_c/d--e:T_1.x", Reference("[::1]:5000", "a/b_c/d--e", "T_1.x")),
    ],
)
def test_references_are_read_and_written_back(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "app", "app:v1", "team/app", "r.example/", "r.example/App", "r.example/a//b", "r.example/a/../b",
        "r.example/app:", "r.example/app@", "r.example/app:.x", f"r.example/app:{'x' * 129}",
        "r.example/app@sha256:abc", "r.example/app:v1\n", f"r.example/{'a' * 256}", "r_x.example:port/app",
    ],
)  # fmt: skip
def test_malformed_references_are_refused(text: str) -> None:
    with pytest.raises(InvalidReferenceError):
        Reference.parse(text)


def test_the_digest_wins_over_the_tag() -> None:
    assert Reference("r.example", "a", "t", DIGEST).locator == str(DIGEST)
    assert Reference("r.example", "a", "t").locator == "t"
    with pytest.raises(InvalidReferenceError, match="no tag and no digest"):
        _ = Reference("r.example", "a").locator
