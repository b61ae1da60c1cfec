"""Errors of the converter.

::

    ConvertError (Exception)
    ├── InvalidImageError         reject: the source image is damaged or breaks its specification
    │   └── InvalidLayerError     one layer: its compression, its tar, or a name in it
    ├── UnsupportedImageError     reject: sound, but nothing to convert (an artifact, our own product)
    ├── DictionaryError           reject: an image that cannot be the chunk dictionary that was asked for
    ├── LimitExceededError        reject: sound, but over a limit of the RAFS format
    ├── BootstrapError            alert: a bootstrap that a reader must refuse
    └── BlobError                 alert: a layer blob that a reader must refuse

Nothing here is worth a retry: the same input gives the same error. What reads a source (a registry, a
file) raises its own errors, which pass through the converter untouched, so a caller can tell a broken
connection from a broken image.
"""


class ConvertError(Exception):
    """The conversion cannot give a correct image; the message names the input and the reason."""


class InvalidImageError(ConvertError):
    """The manifest, the config or a layer of the source is damaged or contradicts itself."""


class InvalidLayerError(InvalidImageError):
    """One layer cannot be read: broken compression, a tar that ends early, a path that leaves the root."""


class UnsupportedImageError(ConvertError):
    """The manifest is sound but not an image that can be converted."""


class DictionaryError(ConvertError):
    """An image does not go with the options of a conversion, or its parts contradict each other."""


class LimitExceededError(ConvertError):
    """The image is sound but does not fit into RAFS v6 (too many blobs, chunks, bytes of a name …)."""


class BootstrapError(ConvertError):
    """Bootstrap bytes that break the format: never something to mount, publish or merge."""


class BlobError(ConvertError):
    """Layer blob bytes that break the format or do not match their digests: never something to publish."""
