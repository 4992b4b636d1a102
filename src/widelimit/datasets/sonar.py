"""Sonar: echoes of mines and of rocks, as energies in 60 frequency bands.

The 208 rows have values in [0, 1]. The file lists 97 rocks, then 111 mines.

The address could not be tried where this was written. It is the repository's older
one for single files, and other public code states it together with this checksum. The
repository's page offers
<https://archive.ics.uci.edu/static/public/151/connectionist+bench+sonar+mines+vs+rocks.zip>
instead, whose checksum we do not know: `load` reads that archive too, where you have
put it into a data folder. A copy of the file that was put together from the numbers has
the checksum as well.

T. Sejnowski and R. P. Gorman, Connectionist Bench (Sonar, Mines vs. Rocks), UCI
Machine Learning Repository, <https://doi.org/10.24432/C5T01Q>, CC BY 4.0.
"""

from widelimit.datasets.uci import UCITable

SONAR = UCITable(
    name="sonar",
    feature_names=tuple(f"band_{i:02d}" for i in range(1, 61)),
    class_names=("rock", "mine"),
    codes=("R", "M"),
    rows=208,
    npz="sonar.npz",
    file="sonar.all-data",
    archive="connectionist+bench+sonar+mines+vs+rocks.zip",
    base_url="https://archive.ics.uci.edu/ml/machine-learning-databases/undocumented/"
    "connectionist-bench/sonar/",
    checksum="sha256:e90434cdbf00fcf93ffa911fe447ae25606979658e60f1d32e155c3b5240234d",
    size="88 kB",
).entry()
