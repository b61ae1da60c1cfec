"""Turns OCI images into Nydus (RAFS) images: a pure library, file objects only, no network."""
