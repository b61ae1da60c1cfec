"""P2P engines behind one interface."""

from p2p_seed.supernode.engine import SeedEngine, SeedOutcome
from p2p_seed.supernode.none import NoneEngine

__all__ = ["NoneEngine", "SeedEngine", "SeedOutcome"]
