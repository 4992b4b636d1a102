"""An accuracy table: duals and limit kernels beside mpmath."""

from widelimit.accuracy.comparison import THRESHOLDS, Comparison
from widelimit.accuracy.markdown import page
from widelimit.accuracy.run import accuracy_table
from widelimit.accuracy.table import AccuracyTable, Cell, Row

__all__ = [
    "THRESHOLDS",
    "AccuracyTable",
    "Cell",
    "Comparison",
    "Row",
    "accuracy_table",
    "page",
]
