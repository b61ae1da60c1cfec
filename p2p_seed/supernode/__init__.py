"""P2P engines behind one interface."""

from p2p_seed.supernode.engine import (
    Capabilities,
    EngineHealth,
    OnProgress,
    SeedEngine,
    SeedOutcome,
    unheard,
)
from p2p_seed.supernode.none import NoneEngine

__all__ = [
    "Capabilities",
    "EngineHealth",
    "NoneEngine",
    "OnProgress",
    "SeedEngine",
    "SeedOutcome",
    "unheard",
]
