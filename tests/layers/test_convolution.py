"""Convolution by its own derivatives, against JAX's of the plain operation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit.layers import convolution
from widelimit.layers.convolution import convolve

CASES = {
    "same": ((5, 6), (3, 3), (1, 1), ((1, 1), (1, 1))),
    "centered, stride 2": ((7, 6), (3, 3), (2, 2), ((1, 1), (1, 1))),
    "valid, what is left over": ((9, 8), (2, 3), (3, 2), ((0, 0), (0, 0))),
    "one by one, stride 2": ((6, 5), (1, 1), (2, 2), ((0, 0), (0, 0))),
    "strides beyond the window": ((8, 7), (1, 2), (3, 2), ((0, 2), (2, 0))),
    "neighbours in fours": ((5, 8), (3, 2), (2, 1), ((1, 0), (0, 1))),
    "one axis in pairs": ((6,), (3,), (1,), ((1, 1),)),
    "one axis": ((7,), (3,), (2,), ((1, 1),)),
}


def plain(x, weight, strides, margins):
    rank = len(strides)
    numbers = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC")}[rank]
    return jax.lax.conv_general_dilated(
        x, weight, strides, margins, dimension_numbers=numbers
    )


def drawn(case, key):
    lengths, window, strides, margins = CASES[case]
    keys = jax.random.split(key, 4)
    shapes = ((6, *lengths, 2), (*window, 2, 3)) * 2
    arrays = [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]
    return tuple(arrays[:2]), tuple(arrays[2:]), (strides, margins)


def derivatives(function, point, direction, settings):
    """Values, and first and second derivatives forwards and backwards."""

    def f(x, weight):
        return function(x, weight, *settings)

    def total(x, weight):
        return jnp.sum(jnp.sin(f(x, weight)))

    def slope(x, weight):
        return jax.jvp(total, (x, weight), direction)[1]

    gradient = jax.grad(total, (0, 1))
    return (
        *jax.jvp(f, point, direction),
        gradient(*point),
        jax.jvp(gradient, point, direction)[1],
        jax.grad(slope, (0, 1))(*point),
    )


def test_no_images_have_no_gradient(getkey):
    (x, weight), _, settings = drawn("centered, stride 2", getkey())

    def total(x, weight):
        return jnp.sum(convolve(x, weight, *settings))

    dx, dw = jax.grad(total, (0, 1))(x[:0], weight)
    assert dx.shape == (0, *x.shape[1:])
    np.testing.assert_array_equal(dw, np.zeros(weight.shape))


def assert_same(one, two):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
def test_values_and_derivatives(case, getkey, monkeypatch):
    monkeypatch.setattr(convolution, "_images_at_once", lambda *_: 4)  # of six
    point, direction, settings = drawn(case, getkey())
    ours, theirs = (
        jax.jit(lambda p, d, f=f: derivatives(f, p, d, settings))(point, direction)
        for f in (convolve, plain)
    )
    assert_same(ours, theirs)


@pytest.mark.parametrize(
    ("rows", "most", "tiles", "rest"),
    [(61, 8, 7, 5), (127, 2, 63, 1), (7, 7, 0, 0), (5, 8, 0, 0), (12, 5, 3, 0)],
)
def test_images_of_any_number_are_taken_many_at_a_time(rows, most, tiles, rest, getkey):
    window, strides, margins = (3, 2), (1, 2), ((1, 1), (0, 1))
    x = jax.random.normal(getkey(), (rows, 4, 4, 2))
    y = jax.random.normal(getkey(), (rows, 4, 2, 3))
    weight = jnp.zeros((*window, 2, 3))
    settings = (strides, margins)

    def ours(x, y):
        return convolution._weight_gradient(x, y, window, *settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convolution, "_images_at_once", lambda *_: most)
        traced = jax.make_jaxpr(ours)(x, y)
        found = ours(x, y)
    expected = jax.vjp(lambda w: plain(x, w, *settings), weight)[1](y)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)
    names = [equation.primitive.name for equation in traced.jaxpr.eqns]
    lengths = [e.params["length"] for e in traced.jaxpr.eqns if "length" in e.params]
    assert lengths == ([tiles] if tiles else [])
    assert names.count("conv_general_dilated") == (not tiles) + (rest > 0)


def test_tiles_are_larger_where_all_cores_share_a_convolution():
    few = convolution._images_at_once(32 * 32, 64)
    small = convolution._images_at_once(8 * 8, 64)
    narrow = convolution._images_at_once(32 * 32, 16)
    with convolution.divided_over_cores():
        many = convolution._images_at_once(32 * 32, 64)
    assert (few, small, narrow, many) == (2, 8, 8, 16)
    assert convolution._images_at_once(1, 2**20) == 1


@pytest.mark.parametrize("operand", [0, 1])
def test_second_derivatives_by_one_operand_alone(operand, getkey):
    point, direction, settings = drawn("centered, stride 2", getkey())

    def curvatures(function):
        def total(z):
            both = [*point]
            both[operand] = z
            return jnp.sum(jnp.sin(function(*both, *settings)))

        at, along = (jnp.asarray(pair[operand]) for pair in (point, direction))
        gradient = jax.grad(total)
        return (
            jax.jvp(gradient, (at,), (along,))[1],
            jax.grad(lambda z: jnp.sum(gradient(z) ** 2))(at),
        )

    assert_same(jax.jit(lambda: curvatures(convolve))(), curvatures(plain))


@pytest.mark.parametrize("axes", [(0, None), (None, 0), (0, 0)])
def test_many_inputs_and_many_weights(axes, getkey):
    point, other, settings = drawn("centered, stride 2", getkey())
    arguments = [
        jnp.stack(pair) if axis == 0 else pair[0]
        for pair, axis in zip(zip(point, other, strict=True), axes, strict=True)
    ]

    def gradients(function):
        def total(x, weight):
            return jnp.sum(jnp.sin(function(x, weight, *settings)))

        return jax.jit(jax.vmap(jax.grad(total, (0, 1)), axes))(*arguments)

    assert_same(gradients(convolve), gradients(plain))


def test_convolutions_in_loops_have_the_order_of_axes_that_is_fast(getkey):
    (x, weight), _, settings = drawn("centered, stride 2", getkey())

    def descend(x, weight):
        def step(_, w):
            def total(x, w):
                return jnp.sum(jnp.sin(convolve(jnp.sin(x), w, *settings)))

            from_input, from_weight = jax.grad(total, (0, 1))(x, w)
            return w - jnp.sum(from_input) * from_weight

        return jax.lax.fori_loop(0, 3, step, weight)

    program = jax.jit(descend).lower(x, weight).compile().as_text()
    lines = [line for line in str(program).splitlines() if " convolution(" in line]
    assert lines
    for line in lines:
        assert "dim_labels=b01f_01io->b01f" in line
        assert "lhs_dilate=" not in line
