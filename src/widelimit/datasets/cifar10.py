"""CIFAR-10: from a numpy archive or from its original binary version."""

from widelimit.datasets.cifar import Cifar
from widelimit.datasets.cifar_binary import PIXELS, parse_cifar10

CIFAR10 = Cifar(
    name="cifar10",
    title="CIFAR-10",
    class_names=tuple(
        "airplane automobile bird cat deer dog frog horse ship truck".split()
    ),
    folder="cifar-10-batches-bin",
    files=(*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"),
    record=1 + PIXELS,
    parse=parse_cifar10,
    checksum="md5:c32a1d4ab5d03f1284b67883e8d87530",
    size="170 MB",
).entry()
