"""Named builders of networks."""

from widelimit.networks.mlp import mlp
from widelimit.networks.zhu2022 import INITIALIZATIONS, zhu2022_network

__all__ = ["INITIALIZATIONS", "mlp", "zhu2022_network"]
