"""How a running conversion tells how far it is, and how it is stopped."""

from __future__ import annotations

from typing import Final, Protocol


class Progress(Protocol):
    """Receives the progress of a conversion.

    `advance` may be called from any thread of the conversion, a few times a second at most. Whatever it
    raises ends the conversion and reaches the caller unchanged: this is the way to cancel.
    """

    def advance(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:
        """Tells the state of one stage.

        Args:
            stage: what is worked on, for people: "layer 2/5", "merge".
            done_bytes: bytes of input used up so far in this stage; never falls.
            total_bytes: bytes of input of the whole stage, or None where nobody knows.
        """


class _NoProgress:
    def advance(self, stage: str, done_bytes: int, total_bytes: int | None) -> None:
        """Ignores the report."""


NO_PROGRESS: Final[Progress] = _NoProgress()
