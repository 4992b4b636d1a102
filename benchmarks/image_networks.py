"""The networks of the image benchmarks in PyTorch, and what both sides train on."""

import math
import os

import numpy as np

BATCH, IMAGES, RATE, MOMENTUM = 64, 2000, 0.01, 0.9
NETWORKS = {"CNN, depth 6, 64 channels": ("cnn", 64), "ResNet-18, 1/4": ("resnet", 16)}


def images():
    """Images of CIFAR-10 if they are at hand, else noise; channels last, and labels."""
    from widelimit import datasets

    if os.environ.get("WIDELIMIT_DATA"):
        data = datasets.load("cifar10")
        x = np.moveaxis(data.x_train[:IMAGES], 1, -1).copy()
        return x - x.mean((0, 1, 2)), np.asarray(data.y_train[:IMAGES]).astype(int)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(IMAGES, 32, 32, 3)).astype(np.float32)
    return x, rng.integers(0, 10, size=IMAGES)


def torch_network(kind, channels):
    """The same network as `networks.cnn` or `networks.resnet18`, He initialisation."""
    from torch import nn

    def conv(entering, leaving, window=3, stride=1):
        made = nn.Conv2d(
            entering, leaving, window, stride, padding=window // 2, bias=False
        )
        nn.init.normal_(made.weight, std=math.sqrt(2 / (entering * window * window)))
        return made

    class Block(nn.Module):
        def __init__(self, entering, leaving, stride):
            super().__init__()
            self.branch = nn.Sequential(
                conv(entering, leaving, 3, stride),
                nn.BatchNorm2d(leaving),
                nn.ReLU(),
                conv(leaving, leaving),
                nn.BatchNorm2d(leaving),
            )
            self.shortcut = nn.Identity()
            if stride > 1 or entering != leaving:
                self.shortcut = nn.Sequential(
                    conv(entering, leaving, 1, stride), nn.BatchNorm2d(leaving)
                )

        def forward(self, x):
            return nn.functional.relu(self.shortcut(x) + self.branch(x))

    if kind == "cnn":
        layers, entering = [], 3
        for i in range(6):
            layers += [conv(entering, channels, 3, 2 if i in (2, 4) else 1), nn.ReLU()]
            entering = channels
    else:
        layers = [conv(3, channels), nn.BatchNorm2d(channels), nn.ReLU()]
        entering = channels
        for stage in range(4):
            for block in range(2):
                leaving = channels * 2**stage
                layers.append(Block(entering, leaving, 2 if stage and not block else 1))
                entering = leaving
    last = nn.Linear(entering, 10, bias=kind != "cnn")
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
