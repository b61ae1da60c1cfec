"""A streaming reader of tar archives, strict about damage and generous about formats.

`source` cuts the stream into pieces, `header` reads the 512-byte records, `pax` the extended headers,
`sparse` the maps of sparse files, `reader` puts entries together. Names stay bytes all along. Nothing here
knows of
images: what an entry means for a layer is decided in `converter.layer_tree`.

Sources: POSIX.1-2017 pax; GNU tar 1.34 manual, "Tar Internals"; Go 1.24 `archive/tar`, which container
engines unpack with and whose limits are taken over.
"""

from converter.tar.header import EntryType
from converter.tar.reader import Entry, TarReader
from converter.tar.source import ByteSource

__all__ = ["ByteSource", "Entry", "EntryType", "TarReader"]
