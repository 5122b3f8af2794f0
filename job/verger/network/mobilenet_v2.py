"""MobileNetV2 without its classifier, as Keras lays it out (Sandler et al. 2018, arXiv:1801.04381)."""

from __future__ import annotations

from collections.abc import Mapping

from verger.network.recipe import Convolution, Operation, Recipe, shapes

# Width multipliers for which Keras publishes weights trained on ImageNet.
PUBLISHED_ALPHAS = (1.0, 0.75, 0.5, 0.35, 1.3, 1.4)
# (filters at alpha 1, stride) of each inverted residual block: the paper's table 2.
_BLOCKS = (
    (16, 1),
    *((24, 2), (24, 1)),
    *((32, 2), (32, 1), (32, 1)),
    *((64, 2), (64, 1), (64, 1), (64, 1)),
    *((96, 1), (96, 1), (96, 1)),
    *((160, 2), (160, 1), (160, 1)),
    (320, 1),
)
_EXPANSION = 6


def recipe(alpha: float) -> Recipe:
    """The layers of MobileNetV2.

    Keras has a padding layer before each convolution of stride 2. ``SAME`` pads in the same way, at odd sizes too.

    Parameters
    ----------
    alpha : float
        Width multiplier: all numbers of filters are multiplied by it.

    Returns
    -------
    Recipe
        Sandler et al. 2018, arXiv:1801.04381, table 2, without the classifier.
    """
    channels = _divisible(32 * alpha)
    operations: list[Operation] = [Convolution("Conv1", (3, 3, 3, channels), 2, "bn_Conv1", "relu6")]
    for number, (filters, stride) in enumerate(_BLOCKS):
        block = _block(number, channels, _divisible(int(filters * alpha)), stride)
        operations += block
        channels = _divisible(int(filters * alpha))
    last = _divisible(1280 * alpha) if alpha > 1 else 1280
    operations.append(Convolution("Conv_1", (1, 1, channels, last), 1, "Conv_1_bn", "relu6"))
    return tuple(operations)


def _block(number: int, channels: int, filters: int, stride: int) -> list[Operation]:
    """An inverted residual block: expand, depthwise convolution, project."""
    prefix = f"block_{number}" if number else "expanded_conv"
    wide = _EXPANSION * channels if number else channels

    def named(what: str, kernel: tuple[int, int, int, int], stride: int, activation: bool) -> Convolution:
        name = f"{prefix}_{what}"
        return Convolution(name, kernel, stride, f"{name}_BN", "relu6" if activation else "", what == "depthwise")

    block: list[Operation] = [named("expand", (1, 1, channels, wide), 1, True)] if number else []
    block.append(named("depthwise", (3, 3, wide, 1), stride, True))
    block.append(named("project", (1, 1, wide, filters), 1, False))
    return ["keep", *block, "add"] if stride == 1 and channels == filters else block


def _divisible(filters: float) -> int:
    """The nearest multiple of 8 that is no more than 10 % below, as in Keras."""
    rounded = max(8, int(filters + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * filters else rounded


def alpha_of(found: Mapping[str, tuple[int, ...]], wanted: float | None = None) -> float:
    """The width multiplier to which weights belong.

    Several multipliers can give the same widths. The one with the fewest digits is taken, whatever was asked for: the
    same weights must always have the same name.

    Parameters
    ----------
    found : mapping of str to tuple of int
        Shapes of the weights by canonical name.
    wanted : float, optional
        The multiplier that was asked for; tried last.

    Returns
    -------
    float
        If none fits, the published multiplier to which most of the shapes belong.
    """
    hundredths = sorted(range(5, 201), key=lambda hundredth: (hundredth % 5 > 0, hundredth % 10 > 0, hundredth))
    for alpha in (*PUBLISHED_ALPHAS, *(hundredth / 100 for hundredth in hundredths), wanted):
        if alpha is not None and _agreeing(alpha, found) == len(shapes(recipe(alpha))):
            return alpha
    return max(PUBLISHED_ALPHAS, key=lambda alpha: _agreeing(alpha, found))


def _agreeing(alpha: float, found: Mapping[str, tuple[int, ...]]) -> int:
    return sum(found.get(name) == shape for name, shape in shapes(recipe(alpha)).items())
