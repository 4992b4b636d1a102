"""All comparisons, the library's side in threads of its own."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from widelimit._checks import check_one_of
from widelimit.accuracy import duals, kernels
from widelimit.accuracy.cases import Case, cases
from widelimit.accuracy.comparison import THRESHOLDS, Comparison
from widelimit.accuracy.grid import moments
from widelimit.accuracy.networks import Network, networks
from widelimit.accuracy.table import AccuracyTable, gather

COMPILERS = 2  # threads that compile the library's programs
PRECISIONS = tuple(THRESHOLDS)


def accuracy_table(
    *,
    precision: str | None = None,
    only: str | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> AccuracyTable:
    """Compares duals and limit kernels of the library with mpmath.

    Args:
        precision: `"float64"` or `"float32"`; both if `None`.
        only: Part of the names of the activations and networks that are wanted.
        progress: Called with a name, a number and how many there are.

    Returns:
        The table; see `page` for its text.

    Raises:
        ValueError: If the precision is unknown, or nothing has such a name.
    """
    if precision is not None:
        check_one_of("accuracy_table", "precision", precision, PRECISIONS)
    precisions = PRECISIONS if precision is None else (precision,)
    subjects = [
        subject
        for subject in (*cases(), *networks())
        if (only or "").lower() in subject.name.lower()
    ]
    if not subjects:
        names = ", ".join(f"`{subject.name}`" for subject in (*cases(), *networks()))
        raise ValueError(
            "`accuracy_table` needs `only` as part of a name. Got "
            f"`only={only!r}`. Take one of {names}."
        )
    # Here, before the thread starts: the precision of mpmath's numbers is global.
    grids = {(p, few): moments(p, few) for p in precisions for few in (False, True)}
    tasks = [
        (subject, precision, grids[precision, getattr(subject, "slow", False)])
        for subject in subjects
        for precision in precisions
    ]
    found: list[Comparison] = []
    pool = ThreadPoolExecutor(COMPILERS)
    try:
        values = [pool.submit(_library, *task) for task in tasks]
        for k, (task, value) in enumerate(zip(tasks, values, strict=True), start=1):
            if progress is not None:
                progress(f"{task[0].name} in {task[1]}", k, len(tasks))
            found += _compare(*task, value.result())
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return AccuracyTable(gather(found), precision, only)


def _library(subject: Case | Network, precision: str, grid):
    """What JAX computes while mpmath computes the references of the one before."""
    if isinstance(subject, Network):
        return kernels.library_kernels(subject, precision)
    return (
        duals.library_duals(subject.activation, precision, grid),
        duals.library_means(subject.activation, precision),
    )


def _compare(subject: Case | Network, precision: str, grid, actual) -> list[Comparison]:
    if isinstance(subject, Network):
        return kernels.compare_kernels(subject, precision, actual)
    pairs, single = actual
    return [
        *duals.compare_duals(subject, precision, grid, pairs),
        *duals.compare_means(subject, precision, single),
    ]
