"""The README: its Python code runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(
    r"^```(?:python|py)\n(.*?)^```", README.read_text("utf-8"), re.M | re.S
)


def test_the_code_of_the_readme_runs(tmp_path):
    assert BLOCKS, "README.md has no block of Python code"
    # The blocks follow one another, as a reader would type them.
    script = tmp_path / "readme.py"
    script.write_text("\n".join(BLOCKS), encoding="utf-8")
    ran = subprocess.run(
        [sys.executable, script.name], cwd=tmp_path, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stderr
