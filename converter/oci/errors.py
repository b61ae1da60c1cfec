"""Errors of the OCI vocabulary.

::

    OciError (ValueError)
    ├── InvalidDigestError      not `sha256:` + 64 lower-case hex
    ├── InvalidReferenceError   not `host/repository[:tag][@digest]`
    ├── InvalidManifestError    bytes that are not a manifest or index we can use
    └── WrongContentError       content that is not what its descriptor says
"""


class OciError(ValueError):
    """A value that breaks the OCI specifications, with the value named in the message."""


class InvalidDigestError(OciError):
    """A digest that is not `sha256:` followed by 64 lower-case hexadecimal digits."""


class InvalidReferenceError(OciError):
    """An image reference that cannot be parsed."""


class InvalidManifestError(OciError):
    """Manifest or index bytes that are malformed."""


class WrongContentError(OciError):
    """Content with another digest or size than its descriptor says, wherever it was read from."""
