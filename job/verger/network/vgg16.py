"""VGG16 without its classifier, as Keras lays it out (Simonyan and Zisserman 2014, arXiv:1409.1556)."""

from __future__ import annotations

from verger.network.recipe import Convolution, Operation, Recipe

# (convolutions, filters) of each of the five blocks: configuration D in the paper's table 1.
_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))


def recipe() -> Recipe:
    """The layers of VGG16: Simonyan and Zisserman 2014, arXiv:1409.1556, without the classifier."""
    operations: list[Operation] = []
    channels = 3
    for block, (count, filters) in enumerate(_BLOCKS, start=1):
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            operations.append(Convolution(name, (3, 3, channels, filters), activation="relu"))
            channels = filters
        operations.append("max_pool")
    return tuple(operations)
