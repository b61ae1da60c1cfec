"""RAFS v6, the metadata half of a Nydus image: an EROFS image with tables that say where file content lies.

`layout` and `records` say what lies where, `bootstrap` writes, `reader` reads. Source for all of them: the
format of nydus at commit 34e6071e (`rafs/src/metadata/layout/v6.rs`) and Linux 6.18 `fs/erofs/erofs_fs.h`;
chapters (§) are those of docs/nydus-image.md.
"""
