"""One conversion, measured: `python -m tests.benchmarks.conversion OPTIONS LAYOUT` prints JSON."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Final

from converter.image import convert_image
from converter.oci import Descriptor
from converter.options import ConvertOptions
from tests.demo.lazy import layout_blob, layout_image
from tests.memory import peak_bytes

OPTIONS: Final = {
    "zstd": ConvertOptions(),
    "zstd, 1 thread": ConvertOptions(threads=1),
    "none": ConvertOptions(compressor="none"),
}


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one conversion took.

    Args:
        wall_s: seconds by the clock.
        cpu_s: seconds of processor time, user and system.
        peak_bytes: largest resident memory of the process.
        tar_bytes: length of the layers' tars.
        stored_bytes: length of all blobs and the bootstrap layer.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int
    tar_bytes: int
    stored_bytes: int


def measure(layout: Path, options: ConvertOptions) -> Measurement:
    """Converts the one image of an OCI layout."""
    image = layout_image(layout)
    config = layout_blob(layout, image.config.digest).read_bytes()

    @contextmanager
    def open_layer(layer: Descriptor) -> Iterator[BinaryIO]:
        with layout_blob(layout, layer.digest).open("rb") as stream:
            yield stream

    with tempfile.TemporaryDirectory() as directory:
        started_s, cpu_s = time.perf_counter(), time.process_time()
        converted = convert_image(image, config, open_layer, Path(directory), options)
        wall_s, cpu_s = time.perf_counter() - started_s, time.process_time() - cpu_s
    return Measurement(
        wall_s=wall_s,
        cpu_s=cpu_s,
        peak_bytes=peak_bytes(),
        tar_bytes=sum(layer.tar_size for layer in converted.stats.layers),
        stored_bytes=sum(layer.size for layer in converted.manifest.layers),
    )


if __name__ == "__main__":
    print(json.dumps(asdict(measure(Path(sys.argv[2]), OPTIONS[sys.argv[1]]))))
