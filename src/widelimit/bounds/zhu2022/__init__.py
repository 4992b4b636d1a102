"""The bounds of zhu2022, https://arxiv.org/abs/2209.07263."""

from widelimit.bounds.zhu2022.gram import limit_gram
from widelimit.bounds.zhu2022.initial import (
    Lemma5,
    lemma5_mean_square,
    lipschitz_bound,
)
from widelimit.bounds.zhu2022.lazy import Theorem1, theorem1
from widelimit.bounds.zhu2022.movement import Theorem2, theorem2
from widelimit.bounds.zhu2022.rates import (
    TABLE1,
    Table2,
    table2_rates,
    theorem1_rate,
    theorem1_table,
    theorem3_rate,
)
from widelimit.bounds.zhu2022.two_layer import Theorem3, theorem3

__all__ = [
    "TABLE1",
    "Lemma5",
    "Table2",
    "Theorem1",
    "Theorem2",
    "Theorem3",
    "lemma5_mean_square",
    "limit_gram",
    "lipschitz_bound",
    "table2_rates",
    "theorem1",
    "theorem1_rate",
    "theorem1_table",
    "theorem2",
    "theorem3",
    "theorem3_rate",
]
