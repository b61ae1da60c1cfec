"""The vocabulary that every package shares: digest, descriptor, manifest, reference, media types.

Nothing here reads a file or a socket, and nothing here imports another package of the project.
"""

from converter.oci.descriptor import Descriptor, Platform, contradict
from converter.oci.digest import Digest
from converter.oci.errors import (
    InvalidDigestError,
    InvalidManifestError,
    InvalidReferenceError,
    OciError,
    WrongContentError,
)
from converter.oci.manifest import ImageIndex, ImageManifest, Manifest, encode_json, parse_manifest
from converter.oci.reference import Reference, fallback_tag

__all__ = [
    "Descriptor",
    "Digest",
    "ImageIndex",
    "ImageManifest",
    "InvalidDigestError",
    "InvalidManifestError",
    "InvalidReferenceError",
    "Manifest",
    "OciError",
    "Platform",
    "Reference",
    "WrongContentError",
    "contradict",
    "encode_json",
    "fallback_tag",
    "parse_manifest",
]
