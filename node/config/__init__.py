"""What a node is told: flags beat ``COMETRING_…`` beats ``cometring.toml`` beats the defaults.

`Config` is frozen and complete: the rest of the node reads it and nothing else.
"""

from node.config.loading import load_config
from node.config.model import (
    AUTO,
    CLIENT_PORT,
    ENV_PREFIX,
    MIN_SECRET,
    OPS_PORT,
    PEER_PORT,
    Config,
    ConfigError,
)

__all__ = [
    "AUTO",
    "CLIENT_PORT",
    "ENV_PREFIX",
    "MIN_SECRET",
    "OPS_PORT",
    "PEER_PORT",
    "Config",
    "ConfigError",
    "load_config",
]
