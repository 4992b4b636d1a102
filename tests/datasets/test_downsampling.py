"""Area averaging against means over repeated pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from widelimit.datasets.downsampling import box_weights, downsample


def repeated_mean(image, size):
    """Repeat each pixel until `size` divides the image, then average whole blocks."""
    h, w = image.shape
    big = np.repeat(np.repeat(image, size, axis=0), size, axis=1)
    small = np.empty((size, size))
    for i in range(size):
        for j in range(size):
            small[i, j] = big[i * h : (i + 1) * h, j * w : (j + 1) * w].mean()
    return small


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_are_means_over_their_area(size, channels):
    images = np.random.default_rng(size).normal(size=(2, *channels, 5, 7))
    small = downsample(images, size)
    assert small.shape == (2, *channels, size, size)
    for index in np.ndindex(2, *channels):
        expected = repeated_mean(images[index], size)
        np.testing.assert_allclose(small[index], expected, rtol=1e-12, atol=1e-14)


@given(st.integers(1, 40), st.integers(0, 40))
def test_weights_share_out_every_pixel(size, more):
    weights = box_weights(size, size + more)
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(weights.sum(0), size / (size + more), rtol=1e-14)
    assert (weights >= 0).all()


@pytest.mark.parametrize(
    ("size", "message"), [(0, "size >= 1`. Got `size=0"), (6, "<= 5`.*Got `size=6")]
)
def test_other_sizes_are_refused(size, message):
    with pytest.raises(ValueError, match=message):
        downsample(np.ones((1, 5, 7)), size)
