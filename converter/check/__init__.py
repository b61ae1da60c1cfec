"""Compares an image with its conversion: every field of metadata, and every byte.

The source is read as the converter reads it up to its file tree, and then never meets an encoder: its files
are hashed in pieces while its layers stream by. The conversion is read back from its stored bytes: blobs,
chunk tables, the bootstraps inside the blobs and that of the image. Neither is unpacked, and what is kept in
memory is what the trees and the digests of chunks take.

`source` reads layers, `blob` data blobs, `plain_blob` those of RAFS v5, `index_blob` those without data,
`form` holds bootstraps against what the encoder would write, `documents` compares manifests and configs,
`image` leads the whole.
"""

from converter.check.findings import CheckReport
from converter.check.image import check_image

__all__ = ["CheckReport", "check_image"]
