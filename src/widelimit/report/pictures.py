"""Rows of images as Vega-Lite charts, which hold them as PNG files."""

import base64
import struct
import zlib
from typing import Any

import altair as alt
import numpy as np
from jaxtyping import UInt8

from widelimit.studies.figure import Pictures

SIDE = 92
"""Of an image on the page, in pixels of the page."""

_CELL = 144


def pictures_rows(panel: Pictures) -> list[dict[str, Any]]:
    """The data of the chart.

    Args:
        panel: What to draw.

    Returns:
        One dictionary per image, with a `url` that holds it.
    """
    return [
        {
            "column": panel.columns[i],
            "row": j,
            "url": png_url(picture.pixels),
            "caption": picture.caption,
            "description": picture.alt,
        }
        for j, row in enumerate(panel.rows)
        for i, picture in enumerate(row)
    ]


def pictures_chart(panel: Pictures) -> Any:
    """Images as a chart without its data: headings above, captions below.

    Args:
        panel: What to draw.

    Returns:
        An Altair chart of a fixed size.
    """
    x = alt.X(
        "column:N",
        title=None,
        sort=list(panel.columns),
        axis=alt.Axis(
            orient="top", labelAngle=0, domain=False, ticks=False, labelLimit=_CELL,
            labelFontWeight=600,
        ),
    )  # fmt: skip
    y = alt.Y("row:O", title=None, axis=None)
    base = alt.Chart(alt.Data(values=[])).encode(x=x, y=y)
    images = base.mark_image(width=SIDE, height=SIDE, baseline="middle").encode(
        url="url:N",
        description="description:N",
        tooltip=[alt.Tooltip("description:N", title="what it shows")],
    )
    captions = base.mark_text(
        dy=SIDE / 2 + 9, fontSize=10, color="#444", limit=_CELL - 4
    ).encode(text="caption:N")
    return alt.layer(images, captions).properties(
        title=panel.title,
        width=_CELL * len(panel.columns),
        height=_CELL * len(panel.rows),
    )


def png_url(pixels: UInt8[np.ndarray, "h w c"]) -> str:
    """An image as an address that holds it: a PNG file in base 64.

    Args:
        pixels: One channel (grey) or three (red, green, blue), from 0 to 255.

    Returns:
        The address; pixels are enlarged to squares, as viewers would blur them.

    Raises:
        ValueError: If there is another number of channels.
    """
    height, width, channels = pixels.shape
    if channels not in (1, 3):
        raise ValueError(
            "`png_url` needs images with one or three channels. Got "
            f"`pixels.shape={pixels.shape}`."
        )
    times = max(1, 2 * SIDE // max(height, width))
    large = pixels.repeat(times, axis=0).repeat(times, axis=1)
    head = struct.pack(
        ">IIBBBBB",
        *(large.shape[1], large.shape[0], 8, 0 if channels == 1 else 2, 0, 0, 0),
    )
    lines = large.reshape(len(large), -1)
    # Every line begins with its filter: 0, none.
    body = np.concatenate([np.zeros((len(lines), 1), np.uint8), lines], axis=1)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, content)
        for name, content in (
            (b"IHDR", head),
            (b"IDAT", zlib.compress(body.tobytes(), 9)),
            (b"IEND", b""),
        )
    )
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def _chunk(name: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + check
