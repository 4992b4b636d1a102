"""The original files of the UCI tables, written anew from their numbers."""

import zipfile

# Blanks after the class in the rows where the original does not have three.
_BLANKS = {83: 0, 85: 0, 86: 1, 87: 0, 88: 1, 91: 0, 92: 1, 93: 0, 111: 0}
_BLANKS |= {151: 5, 243: 4}
_HEADER = "day,month,year,Temperature, RH, Ws,Rain ,FFMC,DMC,DC,ISI,BUI,FWI,Classes  "


def shortest(value):
    return repr(float(value)).removesuffix(".0")


def banknote_text(x, y):
    rows = zip(x, y, strict=True)
    return "\r\n".join(",".join([*map(shortest, row), str(c)]) for row, c in rows)


def sonar_text(x, y):
    rows = zip(x, y, strict=True)
    lines = [",".join([*(f"{v:.4f}" for v in row), "RM"[c]]) for row, c in rows]
    return "\n".join(lines) + "\n"


def forest_fires_text(x, y):
    """The file of 14 columns `x`: region, day, month, year, and the ten features."""
    lines = []
    for i, (row, c) in enumerate(zip(x, y, strict=True)):
        if i == 0:
            lines += ["Bejaia Region Dataset ", _HEADER]
        if i == 122:
            lines += ["", "Sidi-Bel Abbes Region Dataset", _HEADER]
        fields = [f"{int(v):02d}" for v in row[1:3]] + [shortest(v) for v in row[3:]]
        if i == 11:
            fields[-1] += " "
        if i == 165:  # the blank in place of a comma
            fields[9:11] = [f"{fields[9]} {fields[10]}"]
        blanks = " " * _BLANKS.get(i, 3)
        lines.append(",".join([*fields, ("not fire", "fire")[c]]) + blanks)
    return "\r\n".join(lines) + "\r\n"


TEXTS = {
    "algerian-forest-fires": (
        "Algerian_forest_fires_dataset_UPDATE.csv",
        "algerian+forest+fires+dataset.zip",
        forest_fires_text,
    ),
    "banknote": (
        "data_banknote_authentication.txt",
        "banknote+authentication.zip",
        banknote_text,
    ),
    "sonar": (
        "sonar.all-data",
        "connectionist+bench+sonar+mines+vs+rocks.zip",
        sonar_text,
    ),
}


def write_zip(path, member, data):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Index", "another file")
        archive.writestr(member, data)
