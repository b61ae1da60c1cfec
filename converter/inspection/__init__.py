"""What images, bootstraps and blobs are, in figures and, byte by byte, in words.

`figures` counts; `dump` and its neighbours write offset-annotated text.
"""
