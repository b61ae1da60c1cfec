"""Platforms as people write them, and which image they mean."""

from __future__ import annotations

import pytest

from converter.errors import UnsupportedImageError
from converter.oci import Platform
from converter.platforms import matches, parse_platform, require_all


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("Linux/ARM64", Platform("linux", "arm64")),
    ],
)
def test_platforms_are_read(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd64 ", "linux//v7"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="OS/ARCHITECTURE"):
        parse_platform(text)


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64", "linux/arm64/v8"),
        ("linux/arm64", "linux/aarch64"),
        ("linux/amd64", "linux/x86_64"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/7"),
        ("linux/arm/v6", "linux/armel"),
    ],
)
def test_second_names_mean_the_same(offered: str, wanted: str) -> None:
    assert matches(parse_platform(offered), parse_platform(wanted))


@pytest.mark.parametrize(
    ("offered", "wanted"),
    [
        ("linux/arm/v6", "linux/arm"),
        ("linux/arm/v6", "linux/arm/v7"),
        ("linux/arm64", "linux/arm"),
        ("windows/amd64", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64"),
    ],
)
def test_others_do_not(offered: str, wanted: str) -> None:
    assert not matches(parse_platform(offered), parse_platform(wanted))


def test_a_missing_platform_is_named_with_what_there_is() -> None:
    offered = [Platform("linux", "amd64"), None]
    require_all("the index x", [Platform("linux", "amd64")], offered)
    with pytest.raises(UnsupportedImageError, match="no image for linux/s390x, only for linux/amd64, an un"):
        require_all("the index x", [Platform("linux", "amd64"), Platform("linux", "s390x")], offered)
