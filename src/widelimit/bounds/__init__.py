"""Theorems as functions, which return a value with everything it depends on.

The theorems of one paper are in one module, under its short name.
"""

from widelimit.bounds import du2019, kim2023, wang2022, zhu2022
from widelimit.bounds.base import Assumption, Bound
from widelimit.bounds.relu_chain import ReLUChain

__all__ = [
    "Assumption",
    "Bound",
    "ReLUChain",
    "du2019",
    "kim2023",
    "wang2022",
    "zhu2022",
]
