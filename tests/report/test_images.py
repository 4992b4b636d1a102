"""Bars and pictures: what is written into charts, and image files by hand."""

import base64
import math
import re
import struct
import zlib

import numpy as np
import pytest
import vl_convert

from widelimit.report.chart import figure_spec, panel_spec
from widelimit.report.pictures import SIDE, png_url
from widelimit.studies import Bars, Figure, Picture, Pictures

NONE = (float("nan"), float("inf"))


def decoded(url):
    """Pixels of a PNG without filters, read chunk by chunk with their checksums."""
    head = "data:image/png;base64,"
    assert url.startswith(head)
    data = base64.b64decode(url[len(head) :])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, chunks = 8, {}
    while place < len(data):
        (size,) = struct.unpack(">I", data[place : place + 4])
        name, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        (check,) = struct.unpack(">I", data[place + 8 + size : place + 12 + size])
        assert check == zlib.crc32(name + content)
        chunks[name] = content
        place += 12 + size
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8 and list(chunks)[-1] == b"IEND"
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8)
    lines = lines.reshape(height, -1)
    assert not lines[:, 0].any()
    return lines[:, 1:].reshape(height, width, {0: 1, 2: 3}[kind])


@pytest.mark.parametrize("shape", [(8, 8, 1), (4, 6, 3), (500, 300, 3)])
def test_an_image_file_holds_its_pixels(shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape).astype(np.uint8)
    found = decoded(png_url(pixels))
    times = max(1, 2 * SIDE // max(shape[:2]))
    assert found.shape == (times * shape[0], times * shape[1], shape[2])
    np.testing.assert_array_equal(found[::times, ::times], pixels)
    np.testing.assert_array_equal(found[times - 1 :: times, ::times], pixels)


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"pixels.shape=\(2, 2, 2\)"):
        png_url(np.zeros((2, 2, 2), np.uint8))


def drawn_bars(values, ends=None, **options):
    ends = [NONE] * len(values) if ends is None else ends
    names = [f"c{i}" for i in range(len(values))]
    bars = Bars("B", "class", "P", names, [("ours", values, ends)], **options)
    return bars, vl_convert.vegalite_to_svg(
        figure_spec(Figure("f", "F", "", (bars,)), [panel_spec(bars, name="p0")])
    )


def heights(svg):
    """Of the bars, left to right, from the corners of their paths."""
    found = re.findall(r'd="M[-\d.]+,[-\d.]+h[\d.]+v([\d.]+)h-[\d.]+Z"', svg)
    return [float(height) for height in found if float(height) < 259]


def test_small_bars_beside_large_ones_are_seen():
    values = (4e-6, 3e-3, 2.0)
    bars, svg = drawn_bars(values, [(-1e-6, 9e-6), (2e-3, 4e-3), (1.5, 2.5)])
    assert bars.log and "P (logarithmic)" in svg and "NaN" not in svg
    # From a power of ten below: heights are as logarithms.
    found = heights(svg)
    assert len(found) == 3
    expected = [math.log10(v / 1e-6) for v in values]
    np.testing.assert_allclose(
        np.divide(found, found[2]), np.divide(expected, expected[2]), rtol=1e-3
    )


@pytest.mark.parametrize(
    ("values", "options", "written"),
    [
        ((2.3e-6, 4e-4, 0.7), {}, ["1e-6", "1e-5", "1e-4", "1e-3", "1e-2", "1e-1"]),
        ((4.0, 70.0, 900.0), {}, ["1", "10", "100"]),
        ((1e-5, 4e-5), {}, ["1e-5", "2e-5", "3e-5", "4e-5"]),
        ((1e-5, 4e-5), {"y_domain": (0.0, 1.0)}, ["0.2", "0.4", "0.6", "0.8", "1"]),
    ],
)
def test_small_numbers_along_bars_are_powers_of_ten(values, options, written):
    _, svg = drawn_bars(values, **options)
    found = re.findall(r">([\d.e+-]+)</text>", svg)
    assert set(written) <= set(found) and not any("0.00" in text for text in found)


@pytest.mark.parametrize(
    ("values", "options"),
    [
        ((0.02, 2.0), {}),
        ((0.0, 1e-6, 2.0), {}),
        ((-1.0, 1e-6, 2.0), {}),
        ((1e-6, 0.5), {"y_domain": (0.0, 1.0)}),
        ((float("nan"),), {}),
    ],
)
def test_other_bars_stand_on_zero(values, options):
    bars, svg = drawn_bars(values, **options)
    assert not bars.log and "logarithmic" not in svg


def test_pictures_and_bars_stand_side_by_side():
    grey = np.zeros((8, 8, 1), np.uint8)
    pictures = Pictures(
        "Images",
        ("image", "sum"),
        [[Picture(grey, "a <b>", "alt & one"), Picture(grey, "c", "alt two")]],
    )
    bars = Bars(
        "Accuracy",
        "data",
        "share",
        ("one", "two"),
        [
            ("ours", (0.5, 0.75), [(0.4, 0.6), NONE]),
            ("paper", (0.9, float("nan")), [NONE] * 2),
        ],
        written=".1%",
        outlined=("paper",),
        y_domain=(0.0, 1.0),
    )
    rows = bars.rows()
    assert [(r["series"], r["category"], r["y"]) for r in rows] == [
        ("ours", "one", 0.5),
        ("ours", "two", 0.75),
        ("paper", "one", 0.9),
    ]
    assert rows[0]["95 %"] == "0.4 to 0.6" and "low" not in rows[1]
    figure = Figure("f", "F", "", (pictures, bars))
    specs = [panel_spec(p, name=f"p{i}") for i, p in enumerate(figure.panels)]
    svg = vl_convert.vegalite_to_svg(figure_spec(figure, specs))
    assert svg.count("<image") == 2
    assert 'aria-label="alt &amp; one"' in svg and 'aria-label="alt two"' in svg
    assert all(text in svg for text in ("50.0%", "75.0%", "90.0%", "a &lt;b&gt;"))
    assert vl_convert.svg_to_png(svg)[:4] == b"\x89PNG"
