"""Named builders of networks."""

from widelimit.networks.cnn import cnn
from widelimit.networks.du2019 import (
    du2019_conv_resnet,
    du2019_fully_connected,
    du2019_resnet,
)
from widelimit.networks.initialization import INITIALIZATIONS
from widelimit.networks.kim2023 import kim2023_network
from widelimit.networks.mlp import mlp
from widelimit.networks.resnet import cifar_resnet, resnet18, resnet34, resnet110
from widelimit.networks.wang2022 import wang2022_network
from widelimit.networks.zhu2022 import zhu2022_network

__all__ = [
    "INITIALIZATIONS",
    "cifar_resnet",
    "cnn",
    "du2019_conv_resnet",
    "du2019_fully_connected",
    "du2019_resnet",
    "kim2023_network",
    "mlp",
    "resnet18",
    "resnet34",
    "resnet110",
    "wang2022_network",
    "zhu2022_network",
]
