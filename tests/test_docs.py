"""The documentation: its Python code runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SLOW = pytest.mark.slow
PAGES = [
    "README.md",
    pytest.param("docs/coming-from-neural-tangents.md", marks=SLOW),
    "docs/activations.md",
    pytest.param("docs/bounds.md", marks=SLOW),
    pytest.param("docs/attacks.md", marks=SLOW),
    pytest.param("docs/du2019.md", marks=SLOW),
    pytest.param("docs/estimators.md", marks=SLOW),
    pytest.param("docs/jacobian-kernels.md", marks=SLOW),
    pytest.param("docs/kernels.md", marks=SLOW),
    pytest.param("docs/layers.md", marks=SLOW),
    pytest.param("docs/prediction.md", marks=SLOW),
    pytest.param("docs/solvers.md", marks=SLOW),
    pytest.param("docs/spectrum.md", marks=SLOW),
    pytest.param("docs/training.md", marks=SLOW),
]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_page_runs(page, tmp_path):
    text = (ROOT / page).read_text("utf-8")
    blocks = re.findall(r"^```(?:python|py)\n(.*?)^```", text, re.M | re.S)
    assert blocks, f"{page} has no block of Python code"
    # The blocks follow one another, as a reader would type them.
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=tmp_path,
        env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "true"},  # of compiling
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
