r"""Algerian forest fires: weather and fire-weather indices of 122 days in two regions.

The 11 features are the region (0 for Bejaia, 1 for Sidi-Bel Abbes; in the file it is
the section in which a row stands), four weather features and six indices. The date is
left out: it carries little, and its year is the same in all rows. kim2023 speaks of
"224 data points with input dimension 11" and does not name the features. The file has
244 rows and no cleaning of it that we know of gives 224, so all 244 are used.

In the row of 14/07/2012 of the second region a blank stands where a comma belongs
("14.6 9"). The reader takes such a blank for the comma; the classes then count 138
fires and 106 others, as the repository states.

The address could not be tried where this was written. It is the repository's older
one for single files, and other public code uses it. The repository's page offers
<https://archive.ics.uci.edu/static/public/547/algerian+forest+fires+dataset.zip>
instead, whose checksum we do not know: `load` reads that archive too, where you have
put it into a data folder. The checksum is the published one of the file in it; a copy
of the file that was put together from the numbers has the same.

F. Abid (2019), Algerian Forest Fires, UCI Machine Learning Repository,
<https://doi.org/10.24432/C5KW4N>, CC BY 4.0.
"""

import re

from widelimit.datasets.uci import UCITable
from widelimit.datasets.uci_text import Row

_DATE = ("day", "month", "year")
_MEASURED = (
    *("Temperature", "RH", "Ws", "Rain"),
    *("FFMC", "DMC", "DC", "ISI", "BUI", "FWI"),
)
_REGIONS = ("Bejaia", "Sidi-Bel Abbes")
_TWO_NUMBERS = re.compile(r"\s*([\d.]+)\s+([\d.]+)\s*")


def fire_rows(text: str, where: str) -> list[Row]:
    """The rows of both sections, each with its region in place of its date.

    Args:
        text: Content of the file: for each region a title, a header, and rows.
        where: Name of the file, for messages.

    Returns:
        The rows; the first field is "0" or "1".

    Raises:
        ValueError: If a header differs, or rows stand before the first title.
    """
    rows: list[Row] = []
    region = None
    for number, line in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in line.split(",")]
        title = next((r for r in _REGIONS if fields[0].startswith(r)), None)
        if not any(fields):
            continue
        if title is not None:
            region = str(_REGIONS.index(title))
        elif fields[0] == _DATE[0]:
            _check_header(fields, f"line {number} of '{where}'")
        elif region is None:
            raise ValueError(
                f"`load` needs the title of a region, {' or '.join(_REGIONS)}, before "
                f"its rows. Got {line!r} in line {number} of '{where}'."
            )
        else:
            rows.append(Row(number, [region, *_mended(fields)[len(_DATE) :]]))
    return rows


def _check_header(fields: list[str], at: str) -> None:
    wanted = [*_DATE, *_MEASURED, "Classes"]
    if fields != wanted:
        raise ValueError(
            f"`load` needs the columns {', '.join(wanted)}. Got {', '.join(fields)} in "
            f"{at}."
        )


def _mended(fields: list[str]) -> list[str]:
    """The fields, with two numbers that only a blank parts as two of them."""
    made: list[str] = []
    for field in fields:
        pair = _TWO_NUMBERS.fullmatch(field)
        made += pair.groups() if pair else [field]
    return made


ALGERIAN_FOREST_FIRES = UCITable(
    name="algerian-forest-fires",
    feature_names=("region", *_MEASURED),
    class_names=("not fire", "fire"),
    codes=("not fire", "fire"),
    rows=244,
    npz="algerian_forest_fires.npz",
    file="Algerian_forest_fires_dataset_UPDATE.csv",
    archive="algerian+forest+fires+dataset.zip",
    base_url="https://archive.ics.uci.edu/ml/machine-learning-databases/00547/",
    checksum="sha256:3be9ea1575c093cf6bfa7b56110cedc827aa8ca7953bf571530f8cd9990e0a0c",
    size="15 kB",
    parse=fire_rows,
).entry()
