"""The registry's data path: a server that the registry's `redirect` middleware sends clients to.

Pulls do not fall back when it fails, and a push asks it too, so it is a process of its own that shares
nothing with the others (design decision 11).
"""

from registry_hook.gateway.server import run_gateway
from registry_hook.gateway.settings import GatewaySettings

__all__ = ["GatewaySettings", "run_gateway"]
