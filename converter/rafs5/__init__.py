"""RAFS v5: bootstraps with tables of their own, which only nydusd reads, not the kernel.

`layout` says what lies where, `bootstrap` writes, `reader` reads. Chapters (§) are those of
docs/nydus-image.md; the source of all is nydus-rafs 0.2.2, `src/metadata/layout/v5.rs`.
"""
