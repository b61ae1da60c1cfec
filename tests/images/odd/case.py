"""What a case is: one odd thing, as a directory of its own in every layer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.images.tar import Entry


@dataclass(frozen=True)
class Case:
    """One odd thing.

    Args:
        name: name of the directory that holds it.
        layers: its entries in each layer, lowest first, with names relative to that directory.
    """

    name: str
    layers: tuple[tuple[Entry, ...], ...]

    def entries(self, layer: int) -> tuple[Entry, ...]:
        """The entries in one layer of the whole image, below the case's own directory."""
        if layer >= len(self.layers):
            return ()
        return tuple(entry.below(self.name.encode()) for entry in self.layers[layer])


def case(name: str, *layers: Iterable[Entry]) -> Case:
    """A case from its layers, lowest first."""
    return Case(name, tuple(tuple(layer) for layer in layers))
