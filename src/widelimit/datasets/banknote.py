"""Banknote authentication: wavelet features of images of genuine and forged notes.

The 1372 rows have four features. The file lists all of class 0, then all of class 1,
and does not say which of them is genuine. 24 rows repeat earlier ones, and many are
nearly parallel once prepared, so kim2023 removes rows before it looks at kernels:
`BANKNOTE_MAX_COSINE` holds its thresholds.

The address could not be tried where this was written. It is the repository's older
one for single files, and other public code uses it. The repository's page offers
<https://archive.ics.uci.edu/static/public/267/banknote+authentication.zip> instead:
`load` reads that archive too, where you have put it into a data folder. The checksum
is the published one of the file in it; a copy of the file that was put together from
the numbers has the same.

V. Lohweg (2012), Banknote Authentication, UCI Machine Learning Repository,
<https://doi.org/10.24432/C55P57>, CC BY 4.0.
"""

from collections.abc import Mapping
from types import MappingProxyType

from widelimit.datasets.uci import UCITable

BANKNOTE_MAX_COSINE: Mapping[str, float] = MappingProxyType(
    {"gelu": 0.99, "erf": 0.995}
)
"""kim2023's `max_cosine` of `prepare_table` by activation (appendix A): they leave 186
and 320 rows."""

BANKNOTE = UCITable(
    name="banknote",
    feature_names=("variance", "skewness", "curtosis", "entropy"),
    class_names=("0", "1"),
    codes=("0", "1"),
    rows=1372,
    npz="banknote.npz",
    file="data_banknote_authentication.txt",
    archive="banknote+authentication.zip",
    base_url="https://archive.ics.uci.edu/ml/machine-learning-databases/00267/",
    checksum="sha256:d0539aaed2139ba7a587b3e34fb345ce503ff7d5d33dbf9912d8e195ce425cb9",
    size="46 kB",
).entry()
