"""The table as a Markdown page."""

import importlib.metadata
import math
import string

import jax
import mpmath

from widelimit.accuracy.comparison import THRESHOLDS
from widelimit.accuracy.real import DIGITS
from widelimit.accuracy.table import AccuracyTable, Cell, Row

HEAD = """\
# Accuracy

Written by `widelimit accuracy{options}`, with widelimit {widelimit}, JAX {jax} on
{device} and mpmath {mpmath} at {digits} digits. It compares duals and limit kernels,
values and first derivatives, with references that share no formula with the library.

**The promise**: outside the singular sets below, relative errors are at most
{promise}. {verdict}

## How errors are measured

- Moments $(c, p, q)$ and inputs count exactly as given, as floats of the precision.
  Points *of inputs* hand `height` to the dual; the truth is then that of the inputs'
  own moments. Kernels take inputs; *by x* is the derivative along a direction of the
  first.
- Errors are relative to the true value. Where a quantity has a zero by cancellation
  (duals of GELU, SiLU, mixed polynomials, leaky rectifiers; all kernels), they are
  relative to a tenth of its natural scale if that is larger. For $E\\phi(u)\\phi(v)$
  the scale is $\\sqrt{{E\\phi(u)^2\\,E\\phi(v)^2}}$, and likewise for derivatives; for
  $K$ it is $\\sqrt{{K(x, x) K(x', x')}}$, likewise for $\\Theta$, and for their
  derivatives that times the rate at which features change, the root of the product of
  the layers' mean squared slopes.
- A cell holds the worst relative error, and where it is.

## Singular sets

The promise does not extend to these. Rows name them by their letters, with the number
of points in them and, if it is finite, the worst error there.

{singular}

## The grid

- Duals: moderate moments; correlations 0, near 0, 1, $-1$, and near $\\pm 1$ as for
  inputs at distances $10^{{-3}}$ to $10^{{-8}}$; variances from $2^{{-53}}$ to
  $2^{{53}}$, that is norms from $10^{{-8}}$ to $10^{{8}}$, alike and mixed.
- Kernels: inputs generic, parallel, opposite, coincident, at distances $10^{{-3}}$ to
  $10^{{-8}}$ from each other and near the opposite, norms $10^{{-4}}$ and $10^{{4}}$,
  for rectifiers in float64 also $10^{{-100}}$ and $10^{{100}}$; networks of 1 to 100
  hidden layers (or blocks).
- References for tanh, sigmoid, softplus and SiLU are series and integrals cut at 45
  digits. Networks of tanh and softplus are shallow because of their cost.
"""


def page(table: AccuracyTable) -> str:
    """The table as a page.

    Args:
        table: The table.

    Returns:
        Markdown text.
    """
    cells = [cell for row in table.rows for cell in row.cells.values()]
    names = sorted({name for cell in cells for name in cell.singular})
    letters = dict(zip(names, string.ascii_uppercase, strict=False))
    options = [("precision", table.precision), ("only", table.only)]
    head = HEAD.format(
        options="".join(f" --{name} {value}" for name, value in options if value),
        widelimit=importlib.metadata.version("widelimit"),
        jax=jax.__version__,
        device=jax.devices()[0].device_kind,
        mpmath=mpmath.__version__,
        digits=DIGITS,
        promise=" and ".join(f"{THRESHOLDS[p]:g} in {p}" for p in table.precisions),
        verdict=table.verdict,
        singular="\n".join(f"- **{letters[n]}**: {n}" for n in names) or "None.",
    )
    parts = [head]
    for title, kernels in (("Duals", False), ("Kernels", True)):
        rows = [row for row in table.rows if ("network" in row.subject) == kernels]
        if rows:
            lines = _table(rows, table.precisions, letters)
            parts.append(f"## {title}\n\n{lines}\n")
    if table.broken:
        lines = [line for row in table.broken for line in _broken(row)]
        parts.append("## Where the promise is broken\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


def _table(rows, precisions, letters) -> str:
    columns = ["what", "quantity"]
    columns += [f"{p}: worst error" for p in precisions]
    columns += ["promise", "singular points"]
    lines = [_line(columns), _line("---" for _ in columns)]
    last = None
    for row in rows:
        inside = {name for cell in row.cells.values() for name in cell.singular}
        singular = [f"{letters[n]}: {_inside(row, n)}" for n in sorted(inside)]
        lines.append(
            _line(
                [
                    f"`{row.subject}`" if row.subject != last else "",
                    row.quantity,
                    *(_cell(row.cells.get(p)) for p in precisions),
                    "kept" if row.kept else "**broken**",
                    ", ".join(singular),
                ]
            )
        )
        last = row.subject
    return "\n".join(lines)


def _inside(row: Row, name: str) -> str:
    """How many points of a row a singular set has, and the worst error there."""
    points = [c for cell in row.cells.values() for c in cell.singular.get(name, [])]
    worst = max(c.error for c in points)
    return f"{len(points)}" if worst == math.inf else f"{len(points)} ({worst:.0e})"


def _cell(cell: Cell | None) -> str:
    if cell is None or cell.worst is None:
        return ""
    place = cell.worst.place.split(", c=")[0]
    return f"{cell.worst.error:.1e} of {cell.points} ({place})"


def _broken(row: Row):
    for precision, cell in row.cells.items():
        if cell.broken and cell.worst is not None:
            w = cell.worst
            yield (
                f"- `{row.subject}`, {w.quantity}, {precision}: {cell.broken} of "
                f"{cell.points} points, at worst {w.error:.1e} ({w.place}: "
                f"{w.actual:.9g} for {w.expected:.9g})."
            )


def _line(cells) -> str:
    return f"| {' | '.join(cells)} |"
