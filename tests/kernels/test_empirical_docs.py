"""The page on kernels, executed."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "kernels.md"


@pytest.mark.slow
def test_the_finite_part_of_the_page_runs():
    text = PAGE.read_text().split("## Finite networks")[1].split("\n## ")[0]
    (block,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(block, names)
    shapes = re.findall(r"^(kernels\..*\))  # (\([\d, ]*\))", block, re.MULTILINE)
    assert len(shapes) == 4
    for call, shape in shapes:
        assert str(eval(call, names).shape) == shape
    assert (names["found"].ntk_error > 0).all()
