"""The one table of real programs that tests run against: where each comes from, and in which version.

Debian packages are pinned by upstream version, because Debian replaces the revision behind it with every
security fix and serves only the newest. Go and Rust programs are built from their package registries at an
exact version and live in a cache directory of ours, one directory for each version, so that two checkouts
with different pins share it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class DebianPeer:
    """A package of Debian 12 (bookworm).

    Args:
        package: name of the package.
        version: epoch and upstream version, the part of Debian's version that a security fix leaves alone.
        programs: what it puts on PATH and the tests run.
        demo: whether `make demo` needs it.
        service: the service that the package would start by itself, which nobody asked for here.
    """

    package: str
    version: str
    programs: tuple[str, ...]
    demo: bool = False
    service: str | None = None


@dataclass(frozen=True, slots=True)
class BuiltPeer:
    """A program built from a package registry.

    Args:
        name: name of its directory in the cache, with the version.
        version: exact version, as the registry spells it without a leading "v".
        source: package path (Go), crate (Rust), or for a wrapped one the module that its wrapper requires.
        programs: the binaries it yields.
        wrapper: a directory below `tests/peers/go/` with a Go module of ours that requires `source` and names
            its programs as tools; for modules that `go install` does not take.
        renamed: what binaries of a wrapper are called here, by the name they are built with; two peers may
            not have programs of one name.
        cgo: whether it has C in it, and so needs a C compiler.
        needs: Debian packages that its build needs, beside the tools of every build of its language.
    """

    name: str
    version: str
    source: str
    programs: tuple[str, ...]
    wrapper: str | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    cgo: bool = False
    needs: tuple[str, ...] = ()

    @property
    def directory(self) -> str:
        """Name of the directory in the cache."""
        return f"{self.name}-{self.version}"


DEBIAN: Final = (
    DebianPeer("docker-registry", "2.8.2", ("docker-registry",), demo=True, service="docker-registry"),
    DebianPeer("skopeo", "1.9.3", ("skopeo",), demo=True),
    DebianPeer("mmdebstrap", "1.3.5", ("mmdebstrap",), demo=True),
    DebianPeer("umoci", "0.4.7", ("umoci",)),
    DebianPeer("containerd", "1.6.20", ("containerd", "ctr"), service="containerd"),
    # The engine: `dockerd`. A client alone may be there already, in another version.
    DebianPeer("docker.io", "20.10.24", ("dockerd", "docker"), service="docker"),
    DebianPeer("runc", "1.1.5", ("runc",)),
    DebianPeer("erofs-utils", "1.5", ("fsck.erofs", "dump.erofs")),
    DebianPeer("fsverity", "1.5", ("fsverity",)),
    DebianPeer("fuse3", "3.14.0", ("fusermount3",)),
    DebianPeer("buildah", "1.28.2", ("buildah",)),
    DebianPeer("podman", "4.3.1", ("podman",)),
    # Point releases come with security fixes, so only the major version is pinned.
    DebianPeer("postgresql-15", "15", ("initdb", "postgres"), service="postgresql"),
    DebianPeer("redis-server", "5:7.0", ("redis-server",), service="redis-server"),
    DebianPeer("nginx-light", "1.22.1", ("nginx",), service="nginx"),
)

GO: Final = (
    BuiltPeer("distribution", "3.1.2", "github.com/distribution/distribution/v3/cmd/registry", ("registry",)),
    BuiltPeer("oras", "1.3.6", "oras.land/oras/cmd/oras", ("oras",)),
    BuiltPeer("cosign", "3.1.3", "github.com/sigstore/cosign/v3/cmd/cosign", ("cosign",)),
    BuiltPeer("versitygw", "1.8.0", "github.com/versity/versitygw/cmd/versitygw", ("versitygw",)),
    BuiltPeer("dragonfly", "2.5.1", "d7y.io/dragonfly/v2", ("scheduler", "manager"), wrapper="dragonfly"),
    BuiltPeer(
        "nydus-snapshotter", "0.16.1", "github.com/containerd/nydus-snapshotter", ("containerd-nydus-grpc",),
        wrapper="nydus-snapshotter",
    ),
    BuiltPeer(
        "dragonfly-v1", "1.0.6", "github.com/dragonflyoss/Dragonfly",
        ("supernode", "dfdaemon-v1", "dfget-v1"), wrapper="dragonfly-v1",
        renamed=(("dfdaemon", "dfdaemon-v1"), ("dfget", "dfget-v1")),
    ),
    BuiltPeer(
        "kraken", "0.1.4", "github.com/uber/kraken", ("kraken-agent", "kraken-origin", "kraken-tracker"),
        wrapper="kraken", cgo=True,  # SQLite
        renamed=(("agent", "kraken-agent"), ("origin", "kraken-origin"), ("tracker", "kraken-tracker")),
    ),
)  # fmt: skip

RUST: Final = (
    BuiltPeer("nydus", "2.2.0", "nydus-rs", ("nydusd", "nydus-image")),
    BuiltPeer(
        "dragonfly-client", "1.5.10", "dragonfly-client", ("dfdaemon", "dfget"),
        # Its interfaces are compiled by protoc, with the messages that come in libprotobuf-dev; RocksDB's
        # binding is made by bindgen, which loads libclang.
        needs=("protobuf-compiler", "libprotobuf-dev", "clang", "libclang-dev"),
    ),
)  # fmt: skip


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """The directory that outlives a checkout: XDG_CACHE_HOME or ~/.cache, then `dragonhook`."""
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dragonhook"


def built_directory(peer: BuiltPeer) -> Path:
    """Where the binaries of `peer` are, once it is installed."""
    return cache_directory() / "peers" / peer.directory / "bin"
