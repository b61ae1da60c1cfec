"""Builders of test images: a byte-exact tar writer, OCI layouts, and the image of every odd thing."""
