"""Crops and flips, image by image."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats

from oracles import unchecked
from widelimit.training import CropFlip, train

H, W, C, P = 4, 5, 2, 2


def outcomes(image):
    """Every crop and flip of one image, by place."""
    padded = np.pad(image, ((P, P), (P, P), (0, 0)))
    return {
        (i, j, flip): (cut[:, ::-1] if flip else cut)
        for i in range(2 * P + 1)
        for j in range(2 * P + 1)
        for flip in (False, True)
        for cut in [padded[i : i + H, j : j + W]]
    }


def test_every_image_is_a_crop_or_its_mirror_image_drawn_uniformly(getkey):
    image = np.asarray(jax.random.normal(getkey(), (H, W, C)))
    known, seen = outcomes(image), []
    many = jnp.asarray(np.repeat(image[None], 2000, axis=0))
    for one in np.asarray(CropFlip(P)(many, getkey())):
        matches = [k for k, v in known.items() if np.array_equal(one, v)]
        assert len(matches) == 1
        seen.append(matches[0])
    numbers = [i * 100 + j * 10 + f for i, j, f in seen]
    counts = np.unique(numbers, return_counts=True)[1]
    assert len(counts) == 50 and scipy.stats.chisquare(counts).pvalue > 1e-4


def test_keys_decide(getkey):
    x, key = jax.random.normal(getkey(), (8, H, W, C)), getkey()
    change = CropFlip(P)
    assert jnp.array_equal(change(x, key), change(x, key))
    assert not jnp.array_equal(change(x, key), change(x, getkey()))
    assert jnp.array_equal(CropFlip(0, flip=False)(x, key), x)
    assert CropFlip.from_json(change.to_json()) == change


def test_training_sees_changed_images(getkey):
    """One step of gradient descent on a mean of pixels, whose gradient is the input."""
    x = jax.random.normal(getkey(), (6, H, W, C))
    keys = jax.random.split(getkey(), 2)

    def apply(params, images):
        return jnp.sum(images * params, axis=(1, 2, 3))[:, None]

    def trained(**options):
        return train(
            apply, jnp.zeros((2, H, W, C)), x, jnp.ones((6, 1)), loss="squared",
            optimizer=optax.sgd(1.0), epochs=1, batch_size=6, keys=keys, **options,
        ).params  # fmt: skip

    plain, changed = trained(), trained(augmentation=CropFlip(P))
    np.testing.assert_allclose(plain[0], x.mean(axis=0), rtol=1e-10, atol=1e-12)
    for seed in range(2):
        drawn = jax.random.fold_in(keys[seed], 0)
        order = jax.random.permutation(drawn, 6)
        step = jax.random.split(jax.random.fold_in(drawn, 1), 1)[0]
        seen = CropFlip(P)(x[order], jax.random.fold_in(step, 1))
        np.testing.assert_allclose(changed[seed], seen.mean(axis=0), atol=1e-12)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="`padding >= 0`"):
        CropFlip(-1)
    with unchecked(), pytest.raises(ValueError, match="as `flip`. Got `flip='no'`"):
        CropFlip(flip="no")
    with unchecked(), pytest.raises(ValueError, match="needs images"):
        CropFlip()(jnp.ones((3, 4)), jax.random.key(0))
    with pytest.raises(ValueError, match="larger than its padding.*`padding=5`"):
        CropFlip(5)(jnp.ones((2, 6, 5, 1)), jax.random.key(0))
