"""Convolution whose derivatives are convolutions of the kind that CPUs are quick at."""

import contextlib
import contextvars
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Margins = tuple[tuple[int, int], ...]

DIMENSIONS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}
_ALL_CORES: contextvars.ContextVar[bool] = contextvars.ContextVar(
    "all_cores", default=False
)


@contextlib.contextmanager
def divided_over_cores() -> Iterator[None]:
    """Within it, convolutions are traced for a compiler that gives them all cores.

    Without being told otherwise, XLA's leaves those with many channels to one core.
    """
    token = _ALL_CORES.set(True)
    try:
        yield
    finally:
        _ALL_CORES.reset(token)


def convolve(
    x: Float[Array, "n *p c"],
    weight: Float[Array, "*w c o"],
    strides: tuple[int, ...],
    margins: Margins,
) -> Float[Array, "n *q o"]:
    r"""$y_l = \sum_\delta W_\delta x_{s l - a + \delta}$, entries beyond the ends zero.

    The value is that of `jax.lax.conv_general_dilated`, and on other backends than
    the CPU it is that. XLA's CPU compiler has fast convolutions for one order of axes;
    others it brings into that order, but not inside loops, where derivatives by its own
    rules are a hundred times slower. Here all of them are in that order: by the input
    one convolution for each residue of positions modulo the stride, by the weights
    convolutions of inputs with cotangents, a few images at a time. Forward and
    reverse mode of any order, and `jax.vmap`, work as ever. Where an input is not
    finite, outputs next to those that it reaches may be NaN on a CPU.

    Args:
        x: Inputs, channels last.
        weight: The $W_\delta$.
        strides: $s$ along each position axis.
        margins: Zeros before, $a$, and behind the entries of each position axis.

    Returns:
        The outputs.
    """
    if jax.default_backend() != "cpu" or x.size == 0:
        return _plain(x, weight, strides, margins)
    rank = len(strides)
    if math.prod(weight.shape[:rank]) == 1 and not any(map(any, margins)):
        steps = (slice(None), *(slice(None, None, s) for s in strides))
        return jnp.matmul(x[steps], weight[(0,) * rank])
    return _convolve(x, weight, strides, margins)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _convolve(x: Array, weight: Array, strides: tuple[int, ...], margins: Margins):
    return _quick(x, weight, strides, margins)


def _derivative(
    strides: tuple[int, ...], margins: Margins, primals: Any, tangents: Any
) -> tuple[Array, Array]:
    x, weight = primals
    lengths, window = x.shape[1:-1], weight.shape[: len(strides)]
    # Turned around here, not in the transpose, which may be called for each output.
    turned = jnp.flip(jnp.swapaxes(weight, -1, -2), tuple(range(len(strides))))
    by_input = functools.partial(
        _linear,
        lambda given, dx: _quick(dx, given[0], strides, margins),
        lambda given, y: _input_gradient(given[1], y, lengths, strides, margins),
        (weight, turned),
    )
    by_weight = functools.partial(
        _linear,
        lambda given, dw: _quick(given[0], dw, strides, margins),
        lambda given, y: _weight_gradient(given[0], y, window, strides, margins),
        (x,),
    )
    changes = [
        change(tangent)
        for change, tangent in zip((by_input, by_weight), tangents, strict=True)
        if not isinstance(tangent, jax.custom_derivatives.SymbolicZero)
    ]
    return _quick(x, weight, strides, margins), functools.reduce(jnp.add, changes)


_convolve.defjvp(_derivative, symbolic_zeros=True)


def _plain(x: Array, weight: Array, strides: tuple[int, ...], margins: Margins):
    return jax.lax.conv_general_dilated(
        x, weight, strides, margins, dimension_numbers=DIMENSIONS[len(strides)]
    )


def _quick(x: Array, weight: Array, strides: tuple[int, ...], margins: Margins):
    """The same in less time on CPUs, where channels are few.

    Their convolutions gather a patch of the input for every output, which takes longer
    than few products with it. So `p` neighbours on the last axis are computed from one
    patch that is wider by `p - 1`, as outputs of `p` times the channels, which lie in
    memory as the neighbours do. (Where an input is not finite, neighbours of those that
    it reaches may be NaN, for they are multiplied by zeros.)

    Args:
        x: Inputs.
        weight: Weights.
        strides: Steps.
        margins: Zeros beyond the ends.

    Returns:
        The outputs.
    """
    *_, width, channels, outputs = weight.shape
    before, after = margins[-1]
    count = (x.shape[-2] + before + after - width) // strides[-1] + 1
    most = (64 if channels <= 4 else 32) // outputs  # as measured
    options = (p for p in (4, 2) if p <= most and count % p == 0)
    p = next(options, 1) if strides[-1] == 1 and channels <= 16 else 1
    if p == 1:
        return _plain(x, weight, strides, margins)
    pads = [(0, 0, 0)] * weight.ndim
    shifted = []
    for i in range(p):
        pads[-3] = (i, p - 1 - i, 0)
        shifted.append(jax.lax.pad(weight, jnp.zeros((), weight.dtype), pads))
    wide = jnp.concatenate(shifted, -1)
    y = _plain(x, wide, (*strides[:-1], p), margins)
    return jnp.reshape(y, (*y.shape[:-2], count, outputs))


def _linear(
    function: Callable[[Any, Array], Array],
    transpose: Callable[[Any, Array], Array],
    given: tuple[Array, ...],
    x: Array,
) -> Array:
    """A function of `given` that is linear in `x`, and whose transpose is known.

    JAX's one function that takes a transpose and yet allows every derivative is the
    linear solver. So the value is the `y` that solves `u = x`, `y - A u = 0`, a system
    with ones on its diagonal. `solve` and `transpose_solve` substitute; the system
    itself is what JAX differentiates by `given`. Both of its equations have to depend
    on `x` and on `given` for JAX, hence two zeros that are linear in one of these.

    Args:
        function: `A(given) x`.
        transpose: `A(given)^T y`.
        given: What the function is not linear in; it is differentiated by the first.
        x: What it is linear in.

    Returns:
        Its value.
    """

    def system(pair):
        u, y = pair
        return u * (1 + _zeros(given[0], u.shape)), y - function(given, u)

    def solve(_, pair):
        u, y = pair
        return u, y + function(given, u)

    def transpose_solve(_, pair):
        u, y = pair
        return u + transpose(given, y), y

    shape = jax.eval_shape(function, given, x).shape
    ends = (x, _zeros(x, shape))
    u, y = jax.lax.custom_linear_solve(system, ends, solve, transpose_solve)
    return y + _zeros(u, shape)  # JAX wants a cotangent of `u` as well


def _zeros(x: Array, shape: tuple[int, ...]) -> Array:
    """Zeros that are a linear function of `x`: none of its entries, padded."""
    none = jax.lax.slice(x, (0,) * x.ndim, (0,) * x.ndim)
    return jnp.pad(none, [(0, count) for count in shape])


def _input_gradient(
    turned: Array,
    y: Array,
    lengths: tuple[int, ...],
    strides: tuple[int, ...],
    margins: Margins,
) -> Array:
    r"""$\sum_{l, \delta:\, s l - a + \delta = i} W_\delta^\top y_l$ for every $i$.

    For $i = s t + \rho$ with $\rho < s$, let $\rho + a = s k + r$ with $r < s$. Then
    $\delta = r + s e$ and $l = t + k - e$: for every $\rho$ a convolution over $t$ with
    every $s$-th of the weights, turned around.

    Args:
        turned: The weights, turned around, inputs last.
        y: Cotangents of the outputs.
        lengths: Entries along each position axis.
        strides: Steps.
        margins: Zeros beyond the ends.

    Returns:
        Cotangents of the inputs.
    """
    axes = tuple(range(len(strides)))
    counts = [-(-n // s) for n, s in zip(lengths, strides, strict=True)]
    parts = []
    for rest in itertools.product(*map(range, strides)):
        steps = [divmod(rest[i] + margins[i][0], strides[i]) for i in axes]
        # The last of the taps r, r + s, ... comes first.
        first = [(turned.shape[i] - 1 - steps[i][1]) % strides[i] for i in axes]
        last = [max(turned.shape[i] - steps[i][1], 0) for i in axes]
        taps = turned[tuple(slice(first[i], last[i], strides[i]) for i in axes)]
        if 0 in taps.shape:
            parts.append(jnp.zeros((len(y), *counts, turned.shape[-1]), y.dtype))
            continue
        pads = []
        for i in axes:
            k, size = steps[i][0], taps.shape[i]
            pads.append((size - 1 - k, k + counts[i] - y.shape[1 + i]))
        parts.append(_quick(y, taps, (1,) * len(axes), tuple(pads)))
    if len(parts) == 1:
        return parts[0]
    x = jnp.reshape(jnp.stack(parts, -2), (len(y), *counts, *strides, -1))
    order = [1 + i + side * len(axes) for i in axes for side in (0, 1)]
    x = jnp.transpose(x, (0, *order, x.ndim - 1))
    full = [count * s for count, s in zip(counts, strides, strict=True)]
    x = jnp.reshape(x, (len(y), *full, -1))
    return jax.lax.slice(x, (0,) * x.ndim, (len(y), *lengths, x.shape[-1]))


def _weight_gradient(
    x: Array,
    y: Array,
    window: tuple[int, ...],
    strides: tuple[int, ...],
    margins: Margins,
) -> Array:
    r"""$\sum_l x_{s l - a + \delta}\, y_l^\top$, some images at a time.

    A convolution of the inputs with the cotangents, whose window is as large as an
    image and $s$ apart: images are its channels, and the channels its images.

    Args:
        x: Inputs.
        y: Cotangents of the outputs.
        window: Size of the window.
        strides: Steps.
        margins: Zeros beyond the ends.

    Returns:
        Cotangents of the weights.
    """
    rank = len(window)
    positions, lengths = y.shape[1:-1], x.shape[1:-1]
    pads = []
    for i in range(rank):
        before, reach = margins[i][0], strides[i] * (positions[i] - 1) + window[i]
        pads.append((before, reach - before - lengths[i]))

    def of_tile(x: Array, y: Array) -> Array:
        return jax.lax.conv_general_dilated(
            jnp.moveaxis(x, (0, -1), (-1, 0)),
            jnp.moveaxis(y, 0, -2),
            (1,) * rank,
            pads,
            rhs_dilation=strides,
            dimension_numbers=DIMENSIONS[rank],
        )

    tile = _images_at_once(math.prod(positions), y.shape[-1])
    return jnp.moveaxis(_sum_of_tiles(of_tile, x, y, tile), 0, rank)


def _images_at_once(positions: int, outputs: int) -> int:
    """Images of which a weight gradient is taken at once, as measured.

    Eigen divides many of them over the cores. On a single core their cotangents should
    stay in its cache, but for each position there should be some numbers of them.

    Args:
        positions: Positions of the outputs.
        outputs: Channels of the outputs.

    Returns:
        Their number.
    """
    if _ALL_CORES.get():
        return 16
    return math.ceil(max(2**7, 2**15 / positions) / outputs)


def _sum_of_tiles(
    of_tile: Callable[[Array, Array], Array], x: Array, y: Array, most: int
) -> Array:
    """A sum over images, some at a time.

    Tiles are of one size, with a smaller one at the end where that does not divide.

    Args:
        of_tile: The sum over the images of a tile.
        x: Inputs, image by image.
        y: The like.
        most: Most images of a tile, about.

    Returns:
        The sum.
    """
    n, most = len(x), min(len(x), most)
    tile = max(k for k in range(1, most + 1) if n % k == 0)
    if 2 * tile <= most:  # a remainder costs less than tiles that are too small
        tile = most
    if tile == n:
        return of_tile(x, y)
    whole = n - n % tile

    def add(total: Array, start: Array) -> tuple[Array, None]:
        # Slices, as parts handed to `scan` would be computed beside the whole.
        pair = (jax.lax.dynamic_slice_in_dim(a, start, tile) for a in (x, y))
        return total + of_tile(*pair), None

    like = jax.eval_shape(of_tile, x[:1], y[:1])
    zeros = jnp.zeros(like.shape, like.dtype)
    total, _ = jax.lax.scan(add, zeros, jnp.arange(0, whole, tile))
    return total + of_tile(x[whole:], y[whole:]) if whole < n else total
