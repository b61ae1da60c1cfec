from pathlib import Path

import pytest

from converter.oci import Digest, Reference
from registry_hook.transports import InvalidLocationError
from registry_hook.transports.location import EngineLocation, LayoutLocation, Location, parse_location

DIGEST = Digest.of(b"x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("oci:dir", LayoutLocation(Path("dir"), None, is_archive=False)),
        ("oci:dir:", LayoutLocation(Path("dir"), None, is_archive=False)),
        ("oci:/a/b:latest", LayoutLocation(Path("/a/b"), "latest", is_archive=False)),
        ("oci:./a:name/x:v1.0", LayoutLocation(Path("a"), "name/x:v1.0", is_archive=False)),
        ("oci-archive:a.tar", LayoutLocation(Path("a.tar"), None, is_archive=True)),
        ("oci-archive:/a.tar:q.io/w:e", LayoutLocation(Path("/a.tar"), "q.io/w:e", is_archive=True)),
        ("docker://r.test/a/b:v1", Reference("r.test", "a/b", "v1")),
        ("docker://r.test:5000/a", Reference("r.test:5000", "a", "latest")),
        ("docker://localhost/a", Reference("localhost", "a", "latest")),
        (f"docker://r.test/a@{DIGEST}", Reference("r.test", "a", None, DIGEST)),
        ("docker-daemon:app", EngineLocation("app:latest")),
        ("docker-daemon:localhost:5000/app", EngineLocation("localhost:5000/app:latest")),
        ("docker-daemon:r.test/team/app:v1", EngineLocation("r.test/team/app:v1")),
        (f"docker-daemon:app@{DIGEST}", EngineLocation(f"app@{DIGEST}")),
        (f"docker-daemon:{DIGEST}", EngineLocation(str(DIGEST))),
    ],
)
def test_names_are_read_as_skopeo_reads_them(text: str, expected: Location) -> None:
    assert parse_location(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "oci",
        "oci:",
        "oci::latest",
        "oci:dir:-x",
        "oci:dir:a b",
        "oci:dir:a//b",
        "oci-archive:",
        "docker:r.test/a",
        "docker://",
        "docker://busybox",  # no default registry: a service must not guess where to push
        "docker://r.test/A",
        "docker://r.test/a:",
        "docker://r.test/a@sha256:short",
        f"docker://r.test/a:v1@{DIGEST}",
        "docker-archive:x.tar",
        "docker-daemon:",
        "docker-daemon:../x",
        "docker-daemon:a b",
        "docker-daemon:" + "a" * 600,
        "dir:x",
        "r.test/a:v1",
        "OCI:dir",
    ],
)
def test_everything_else_is_refused_with_the_forms_that_exist(text: str) -> None:
    with pytest.raises(InvalidLocationError, match=r".+"):
        parse_location(text)
