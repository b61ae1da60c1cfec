"""Chooses platforms: `linux/arm64/v8` and the like, as people write them and as indexes list them.

The rules are those of containerd's `platforms` package (v1.0.0, `defaults.go` and `database.go`), so that an
image chosen here is the one a node of that platform would run: some architectures have second names, and two
of them have a variant that goes without saying.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from converter.errors import InvalidImageError, UnsupportedImageError
from converter.oci import Platform

_PART: Final = re.compile(r"[A-Za-z0-9_.-]+")
_SYSTEM: Final = re.compile(rf"(?P<name>{_PART.pattern})(?:\((?P<version>{_PART.pattern})\))?")
_ARCHITECTURES: Final = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "armhf": "arm", "armel": "arm",
}  # fmt: skip
_SYSTEMS: Final = {"macos": "darwin"}
_USUAL_VARIANT: Final = {"arm64": "v8", "arm": "v7", "amd64": "v1"}
_VARIANTS: Final = {"armhf": "v7", "armel": "v6"}


def parse_platform(text: str) -> Platform:
    """Reads `OS[(VERSION)]/ARCHITECTURE[/VARIANT]`, the way `spell` and containerd write it.

    Raises:
        ValueError: another form; the message is for the user.
    """
    system, *parts = text.split("/")
    named = _SYSTEM.fullmatch(system)
    if not named or len(parts) not in (1, 2) or not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(
            f"{text!r} is not a platform: expected OS/ARCHITECTURE[/VARIANT], as linux/arm64, "
            "where OS may have a version, as windows(10.0.17763.1)"
        )
    variant = parts[1].lower() if len(parts) > 1 else None
    return Platform(named["name"].lower(), parts[0].lower(), variant, named["version"])


def spell(platform: Platform) -> str:
    """The platform with the version of its operating system, if it has one, as `parse_platform` reads it."""
    version = f"({platform.os_version})" if platform.os_version else ""
    return str(replace(platform, os=platform.os + version))


def matches(offered: Platform, wanted: Platform) -> bool:
    """Whether an image for `offered` is one for `wanted`: the same up to second names and usual variants.

    A version of the operating system counts if one is wanted; features are not asked for.
    """
    if wanted.os_version not in (None, offered.os_version):
        return False
    return _normal(offered) == _normal(wanted)


def missing(wanted: Sequence[Platform], offered: Iterable[Platform | None]) -> list[Platform]:
    """Those of `wanted` that nothing offered matches."""
    there = [platform for platform in offered if platform is not None]
    return [platform for platform in wanted if not any(matches(other, platform) for other in there)]


def require_all(what: str, wanted: Sequence[Platform], offered: Sequence[Platform | None]) -> None:
    """Checks that there is an image for every platform that was asked for.

    Args:
        what: the image's or index's name in errors.
        wanted: what was asked for.
        offered: what there is; None for what names no platform.

    Raises:
        UnsupportedImageError: one is missing.
    """
    if absent := missing(wanted, offered):
        names = ", ".join(spell(platform) if platform else "an unnamed platform" for platform in offered)
        raise UnsupportedImageError(
            f"{what} has no image for {', '.join(map(spell, absent))}, only for {names or 'nothing'}"
        )


def platform_of(config: bytes) -> Platform | None:
    """The platform in an image config; None where it names none, as the config of an empty image may.

    Raises:
        InvalidImageError: the config is not a JSON object.
    """
    try:
        document = json.loads(config)
    except (ValueError, RecursionError) as error:
        raise InvalidImageError(f"the image config is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidImageError("the image config is not an object")
    system, architecture, variant = (document.get(key) for key in ("os", "architecture", "variant"))
    if not (isinstance(system, str) and system and isinstance(architecture, str) and architecture):
        return None
    return Platform(system, architecture, variant if isinstance(variant, str) and variant else None)


def _normal(platform: Platform) -> tuple[str, str, str]:
    architecture = platform.architecture.lower()
    variant = platform.variant or _VARIANTS.get(architecture)
    architecture = _ARCHITECTURES.get(architecture, architecture)
    system = platform.os.lower()
    variant = (variant or _USUAL_VARIANT.get(architecture, "")).lower()
    return _SYSTEMS.get(system, system), architecture, f"v{variant}" if variant.isdigit() else variant
