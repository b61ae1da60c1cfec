"""Configuration of the programs round the service: the registry, container engines, nydusd, Dragonfly.

Everything here turns the service's settings into text, and touches neither files nor network; `dragonhook
config` prints it. Each program has a module of its own, which gives a `NodeConfig`.
"""

from registry_hook.node_config.addresses import NodeConfigError
from registry_hook.node_config.files import ConfigFile, NodeConfig

__all__ = ["ConfigFile", "NodeConfig", "NodeConfigError"]
