"""OCI-reference images: the layers of the source stay the data, and only an index is added to them.

The reference builder calls this form ZRAN. A gzip layer can be read from the middle if one knows a boundary
between two deflate blocks, the bits of a shared byte there, and the 32 KiB of data before it.

`libz` reads deflate data block by block; `gzip_index` reads a whole layer that way and remembers places to
begin at; `windows` keeps of the data before such a place only what is needed; `contexts` finds the place for
each chunk; `index_blob` writes all that as a Nydus blob; `layer` puts it together. The format:
docs/nydus-image.md §8.
"""
