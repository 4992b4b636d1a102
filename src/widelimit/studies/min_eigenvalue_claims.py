"""The claims of `min-eigenvalue`: where Assumption 8 holds, and how surely."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from widelimit.studies.kim2023_tables import (
    TABLES,
    first_depth,
    relative_margin,
    title_of,
)
from widelimit.studies.verdicts import Claim, Interval, claim_of_every, judge, log2

if TYPE_CHECKING:
    import xarray as xr

NTK, JACOBIAN = "ntk", "jacobian-ntk"

PAPER_DEPTHS: Mapping[tuple[str, str], int] = {
    ("algerian-forest-fires", "gelu"): 11,
    ("algerian-forest-fires", "erf"): 6,
}
"""Smallest depths at which the paper says that the assumption holds (Sec. 5.3)."""

SINGLE = 2.0**29
"""Rounding of single precision over that of double precision."""

WORDS = {1: "holds", 0: "cannot be resolved", -1: "fails"}
"""Verdicts as they are stored, for readers."""

LESS = 10.0
"""What "much smaller" is taken to mean, as a ratio."""


def cases(results: "xr.Dataset") -> "Iterator[tuple[str, str, xr.Dataset]]":
    """Table, activation and results of every combination with a finished trial."""
    for table in results["table"].values:
        for activation in results["activation"].values:
            at = results.sel(table=table, activation=activation)
            if np.isfinite(at["rows"].values).any():
                yield str(table), str(activation), at.transpose("depth", ...)


def claims_of(results: "xr.Dataset") -> list[Claim]:
    """All claims: of every table and activation, and of activations side by side.

    Args:
        results: Those of the study.

    Returns:
        The claims.
    """
    claims, found = [], {}
    for table, activation, at in cases(results):
        one = found[table, activation] = Case(table, activation, at)
        claims += [
            one.begins(),
            *one.paper_depth(),
            *one.not_before(),
            one.ntk_positive(),
            one.smaller(),
            one.rises(),
            *one.shallow(),
        ]
    for table in dict.fromkeys(table for table, _ in found):
        if (table, "gelu") in found and (table, "erf") in found:
            claims.append(_erf_larger(found[table, "erf"], found[table, "gelu"]))
    return claims


def _erf_larger(erf: "Case", gelu: "Case") -> Claim:
    least = erf.parts("part") - erf.parts("part_error")
    most = np.maximum(gelu.parts("part"), 0) + gelu.parts("part_error")
    ratios = log2(np.where(least > 0, least, np.nan) / most)
    other = "" if erf.most("part_rows") == gelu.most("part_rows") else (
        " The parts are other rows for each activation, as the paper drops other rows "
        "of this table."
    )  # fmt: skip
    return claim_of_every(
        f"erf-above-gelu[{erf.table}]",
        f"{TABLES[erf.table]}: the smallest eigenvalue of the Jacobian NTK is larger "
        "with erf than with GELU at every depth.",
        {int(d): row for d, row in zip(erf.depths, ratios, strict=True)},
        detail="log2 of the ratio, of the parts, each at the end of its error that "
        "speaks against. What the paper's smaller depths of erf amount to; not said "
        f"there.{other}",
        scope={"table": erf.table},
    )


def _since(depth: int | None) -> str:
    return "not at the last depth" if depth is None else f"from depth {depth} on"


def _range(values: np.ndarray) -> tuple[float, float]:
    kept = values[np.isfinite(values)]
    return (float(kept.min()), float(kept.max())) if len(kept) else (np.nan, np.nan)


class Case:
    """A table and an activation, with its eigenvalues over depths."""

    def __init__(self, table: str, activation: str, at: "xr.Dataset"):
        self.table, self.activation, self.at = table, activation, at
        self.depths = at["depth"].values.astype(int)
        self.threshold = float(at["threshold"].max())

    def whole(self, name: str, kernel: str = JACOBIAN) -> np.ndarray:
        """Per depth, of all rows; NaN where a trial is missing."""
        return self.at[name].sel(kernel=kernel).values.astype(float)

    def parts(self, name: str, kernel: str = JACOBIAN) -> np.ndarray:
        """Per depth and seed."""
        values = self.at[name].sel(kernel=kernel).transpose("depth", "seed").values
        return values.astype(float)

    def most(self, name: str) -> int:
        """A number that is the same in all trials that finished."""
        return int(self.at[name].max())

    @property
    def rows(self) -> str:
        """How many rows of the table were used."""
        used, all_rows = self.most("rows"), self.most("table_rows")
        return f"all {all_rows} rows" if used == all_rows else (
            f"{used} of {all_rows} rows"
        )  # fmt: skip

    @property
    def complete(self) -> bool:
        return self.most("rows") == self.most("table_rows")

    def first(self) -> tuple[int | None, int | None]:
        """The smallest depth by our verdict, and by the threshold."""
        least = self.whole("whole")
        known = np.isfinite(least)
        depths, holds = self.depths[known], self.whole("whole_verdict")[known] > 0
        return first_depth(depths, holds), first_depth(
            depths, least[known] > self.threshold
        )

    def begins(self) -> Claim:
        """Whether it holds at the deepest, and from where on."""
        ours, theirs = self.first()
        least, error = self._at(int(self.depths[-1]))
        verdicts = self.whole("whole_verdict")
        missed = "".join(
            f"; it {WORDS[v]} at {', '.join(map(str, self.depths[verdicts == v]))}"
            for v in (0, -1)
            if (verdicts == v).any()
        )
        return self._claim(
            "holds-when-deep",
            f"Assumption 8 holds from some depth on; found: {_since(ours)} by the "
            f"computed verdict, and above {self.threshold:g} {_since(theirs)}.",
            Interval(least, error),
            f"The smallest eigenvalue at depth {self.depths[-1]} and the bound on its "
            f"error, of {self.rows}. Found: it holds {_since(ours)} by the computed "
            "verdict (the eigenvalue exceeds the bound on its error in double "
            f"precision{missed}), and is above {self.threshold:g} {_since(theirs)}. "
            f"{self._per_part()}",
        )

    def _per_part(self) -> str:
        """The same of every part."""
        known = np.isfinite(self.parts("part")).all(axis=1)
        told = []
        for passes in (
            self.parts("part_verdict") > 0,
            self.parts("part") > self.threshold,
        ):
            found = [first_depth(self.depths[known], one) for one in passes[known].T]
            found = sorted(found, key=lambda depth: (depth is None, depth))
            told.append(" or ".join(dict.fromkeys(map(_since, found))))
        return f"Of parts of {self.most('part_rows')} rows {told[0]}, and {told[1]}."

    def paper_depth(self) -> list[Claim]:
        """The paper's smallest depth, by the threshold, where it names one."""
        depth = PAPER_DEPTHS.get((self.table, self.activation))
        if depth is None:
            return []
        words = (
            f"the smallest eigenvalue passes {self.threshold:g} first at depth {depth}."
        )
        if not self.complete:
            return [self._open("first-depth", words, "whole table")]
        if not {depth - 1, depth} <= set(self.depths):
            return [self._open("first-depth", words, f"depths {depth - 1} and {depth}")]
        (below, e_below), (above, e_above) = self._at(depth - 1), self._at(depth)
        sides = [Interval(self.threshold - below, e_below),
                 Interval(above - self.threshold, e_above)]  # fmt: skip
        weakest = min(sides, key=lambda side: side.low)
        if any(judge(side) is False for side in sides):
            weakest = min(sides, key=lambda side: side.high)
        return [
            self._claim(
                "first-depth",
                words,
                weakest,
                f"Distance from {self.threshold:g}, of the eigenvalue at depth "
                f"{depth - 1}, {below:.3g}, or {depth}, {above:.3g}, whichever is "
                "weaker, and the bound on its error. The paper gives the depth and no "
                "number; the threshold is ours, chosen as what explains both of its "
                "depths.",
            )
        ]

    def not_before(self) -> list[Claim]:
        """Whether the assumption fails below that depth."""
        depth = PAPER_DEPTHS.get((self.table, self.activation))
        told = "where the paper says that it begins to"
        if depth is None:
            depth = self.first()[1]
            told = f"where the eigenvalue passes {self.threshold:g}"
        if depth is None or depth == 1:
            return []
        words = f"Assumption 8 does not hold below depth {depth}, {told}."
        if (self.table, self.activation) in PAPER_DEPTHS and not self.complete:
            return [self._open("not-before", words, "whole table")]
        if depth - 1 not in self.depths:
            return [self._open("not-before", words, f"depth {depth - 1}")]
        least, error = self._at(depth - 1)
        ours, _ = self.first()
        return [
            self._claim(
                "not-before",
                words,
                Interval(-least, error),
                f"Minus the smallest eigenvalue at depth {depth - 1}, and the bound on "
                f"its error, {least / error:.2g} times smaller; by the computed "
                f"verdict the assumption holds {_since(ours)}, of {self.rows}.",
            )
        ]

    def ntk_positive(self) -> Claim:
        """Of values alone the smallest eigenvalue is positive at any depth."""
        margin = relative_margin(self.parts("part", NTK), self.parts("part_error", NTK))
        whole = self.whole("whole", NTK) / self.whole("whole_error", NTK)
        return self._every(
            "ntk-positive",
            "the smallest eigenvalue of the NTK of values is positive at every depth.",
            margin,
            "(eigenvalue - error) / (eigenvalue + error) of the parts. Of "
            f"{self.rows}, the eigenvalue is at least {_range(whole)[0]:.2g} times the "
            f"bound on its error; in single precision the bound is {SINGLE:.2g} times "
            "larger.",
        )

    def smaller(self) -> Claim:
        """The Jacobian NTK's is much smaller."""
        least = np.maximum(self.parts("part"), 0) + self.parts("part_error")
        ratio = log2(self.parts("part", NTK) / least)
        whole = np.maximum(self.whole("whole"), 0) + self.whole("whole_error")
        ratios = self.whole("whole", NTK) / whole
        return self._every(
            "jacobian-much-smaller",
            "the smallest eigenvalue of the Jacobian NTK is much smaller than that of "
            f"the NTK (by {LESS:g} at least) at every depth.",
            ratio - np.log2(LESS),
            f"log2 of the ratio over {LESS:g}, of the parts, with the bound on the "
            f"error added to the smaller. Of {self.rows} the ratios are "
            f"{_range(ratios)[0]:.2g} to {_range(ratios)[1]:.2g}.",
        )

    def rises(self) -> Claim:
        """Depth helps."""
        least, error = self.parts("part"), self.parts("part_error")
        first, last = least[0] + error[0], least[-1] - error[-1]
        with np.errstate(invalid="ignore"):
            grown = log2(np.where((first > 0) & (last > 0), last / first, np.nan))
        start, end = self._at(int(self.depths[0])), self._at(int(self.depths[-1]))
        return claim_of_every(
            self._name("rises-with-depth"),
            self._words(
                "the smallest eigenvalue of the Jacobian NTK rises with depth."
            ),
            {"": grown},
            detail=f"log2 of that at depth {self.depths[-1]} over that at depth "
            f"{self.depths[0]}, of the parts, each at the end of its error that speaks "
            f"against. Of {self.rows}: from {start[0]:.3g} (error {start[1]:.2g}) to "
            f"{end[0]:.3g} ({end[1]:.2g}).",
            scope=self.scope,
        )

    def shallow(self) -> list[Claim]:
        """What App. B says of sonar: only shallow GELU networks fail."""
        if self.table != "sonar":
            return []
        if self.activation == "erf":
            words = "the assumption holds at every depth."
        else:
            words = "the assumption is violated at depth 1."
        if not self.complete or self.depths[0] != 1:
            return [self._open("shallow", words, "whole table from depth 1 on")]
        if self.activation == "erf":
            least, error = self.whole("whole"), self.whole("whole_error")
            weakest = int(np.argmin(relative_margin(least, error)))
            return [
                self._claim(
                    "shallow",
                    words,
                    Interval(float(least[weakest]), float(error[weakest])),
                    "The smallest eigenvalue and the bound on its error, at the "
                    f"weakest depth, {self.depths[weakest]}.",
                )
            ]
        least, error = self._at(1)
        return [
            self._claim(
                "shallow",
                words,
                Interval(-least, error),
                "Minus the smallest eigenvalue, and the bound on its error.",
            )
        ]

    @property
    def scope(self) -> dict[str, str]:
        return {"table": self.table, "activation": self.activation}

    def _at(self, depth: int) -> tuple[float, float]:
        place = int(np.flatnonzero(self.depths == depth)[0])
        whole, error = self.whole("whole")[place], self.whole("whole_error")[place]
        return float(whole), float(error)

    def _name(self, name: str) -> str:
        return f"{name}[{self.table},{self.activation}]"

    def _words(self, words: str) -> str:
        return f"{title_of(self.table, self.activation)}: {words}"

    def _claim(self, name: str, words: str, found: Interval, detail: str) -> Claim:
        return Claim(
            self._name(name),
            self._words(words),
            found.mean,
            found.half_width,
            judge(found),
            detail=detail,
            scope=self.scope,
        )

    def _open(self, name: str, words: str, needs: str) -> Claim:
        detail = f"Judged on the {needs} only; here {self.rows}, depths " + (
            f"{', '.join(map(str, self.depths))}."
        )
        return self._claim(name, words, Interval(np.nan, np.inf), detail)

    def _every(self, name: str, words: str, rows: np.ndarray, detail: str) -> Claim:
        groups = {int(d): row for d, row in zip(self.depths, rows, strict=True)}
        return claim_of_every(
            self._name(name), self._words(words), groups, detail=detail,
            scope=self.scope,
        )  # fmt: skip
