"""CIFAR-100: its fine labels, from a numpy archive or its binary version."""

import numpy as np

from widelimit.datasets.cifar import Cifar
from widelimit.datasets.cifar_binary import PIXELS, parse_cifar100

# In the order of the labels, as in `fine_label_names.txt`.
CLASS_NAMES = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge
    bus butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud
    cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox
    girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
    pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
    road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
    streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)


def _fine(data: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    images, fine, _ = parse_cifar100(data, where)
    return images, fine


CIFAR100 = Cifar(
    name="cifar100",
    title="CIFAR-100",
    class_names=CLASS_NAMES,
    folder="cifar-100-binary",
    files=("train.bin", "test.bin"),
    record=2 + PIXELS,
    parse=_fine,
    checksum="md5:03b5dce01913d631647c71ecec9e9cb8",
    size="169 MB",
).entry()
