"""Media types and annotation keys that the project reads or writes.

Sources: OCI image spec 1.1 media-types.md; Docker image manifest v2 schema 2; nydus-snapshotter
`pkg/converter/constant.go` (0.16.1); sigstore bundle specification 0.3.
"""

from typing import Final

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"

MANIFEST_TYPES: Final = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES: Final = (OCI_INDEX, DOCKER_INDEX)
IMAGE_CONFIG_TYPES: Final = (OCI_CONFIG, DOCKER_CONFIG)
# What a client sends as Accept: Distribution 2.8 ignores `*/*` and answers 404 for types that are not listed.
ACCEPT_MANIFESTS: Final = (*MANIFEST_TYPES, *INDEX_TYPES)
LAYER_TYPES: Final = (
    OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, DOCKER_LAYER, DOCKER_LAYER_GZIP, DOCKER_LAYER_ZSTD,
)  # fmt: skip

# Layers that may not be put into a registry; the descriptor's `urls` say where they are. Deprecated since OCI
# image spec 1.1 (layer.md, "Non-Distributable Layers"), and common in images for Windows.
FOREIGN_LAYER_TYPES: Final = (
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
)

# A layer that is an EROFS file system; containerd 2 core/images/mediatypes.go.
EROFS_LAYER: Final = "application/vnd.erofs.layer.v1"
NYDUS_BLOB: Final = "application/vnd.oci.image.layer.nydus.blob.v1"
NYDUS_MANIFEST: Final = "application/vnd.nydus.image.manifest.v1+json"  # artifact type in a merged index
ANNOTATION_NYDUS_BLOB: Final = "containerd.io/snapshot/nydus-blob"
ANNOTATION_NYDUS_REF: Final = "containerd.io/snapshot/nydus-ref"  # digest of the layer that has the data
ANNOTATION_NYDUS_BOOTSTRAP: Final = "containerd.io/snapshot/nydus-bootstrap"
ANNOTATION_NYDUS_FS_VERSION: Final = "containerd.io/snapshot/nydus-fs-version"
ANNOTATION_SOURCE_DIGEST: Final = "containerd.io/snapshot/nydus-source-digest"
# Ours: on a manifest the images of its chunk dictionary, digests with commas between; on a data blob the one
# that it was borrowed from, and the ids of other blobs that the bootstrap in it names, with commas between.
ANNOTATION_DICTIONARY: Final = "dev.dragonhook.chunk-dictionary"
ANNOTATION_BORROWED_FROM: Final = "dev.dragonhook.borrowed-from"
ANNOTATION_REFERS_TO: Final = "dev.dragonhook.refers-to"

# fs-verity digests (SHA-256, blocks of 4096 bytes, no salt): of the layer itself, and of the bootstrap in it.
ANNOTATION_FS_VERITY: Final = "dev.dragonhook.fs-verity"
ANNOTATION_BOOTSTRAP_FS_VERITY: Final = "dev.dragonhook.bootstrap-fs-verity"

SIGSTORE_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
COSIGN_SIMPLE_SIGNING: Final = "application/vnd.dev.cosign.simplesigning.v1+json"

CHUNK_LIST: Final = "application/vnd.dragonhook.chunklist.v1"
