import json
import math
from dataclasses import dataclass

import pytest

from widelimit.bounds import Assumption, Bound


@dataclass(frozen=True, kw_only=True)
class Example(Bound):
    middle: float
    count: int


def example(*assumptions, **changes):
    fields = dict(
        name="Theorem 9",
        source="nobody, Eq. (3)",
        kind="upper",
        quantity="size",
        value=2.5,
        assumptions=assumptions,
        constants=("the constant of the tail",),
        vacuous=False,
        reason="below 3",
        middle=math.inf,
        count=4,
    )
    return Example(**(fields | changes))


HOLDS = Assumption.checked("a < b", True, "1 < 2")
FAILS = Assumption.checked("b < c", False)
TRUST = Assumption.declared("c < d")


@pytest.mark.parametrize(
    "assumptions, applies",
    [((), True), ((HOLDS, TRUST), True), ((HOLDS, FAILS), False), ((FAILS,), False)],
)
def test_a_bound_applies_unless_a_checked_assumption_fails(assumptions, applies):
    assert example(*assumptions).applies is applies


def test_a_bound_reads_as_text():
    text = str(example(HOLDS, FAILS, TRUST))
    assert text.splitlines() == [
        "Theorem 9 (nobody, Eq. (3))",
        "  size <= 2.5",
        "  applies: no",
        "    [holds] a < b (1 < 2)",
        "    [FAILS] b < c",
        "    [declared] c < d",
        "  constants set to 1: the constant of the tail",
        "  vacuous: no (below 3)",
        "  middle = inf",
        "  count = 4",
    ]


@pytest.mark.parametrize("kind, sign", [("lower", ">="), ("exact", "=")])
def test_the_relation_follows_the_kind(kind, sign):
    text = str(example(kind=kind, vacuous=None, constants=()))
    assert f"size {sign} 2.5" in text
    assert "vacuous: not known" in text and "set to 1: none" in text


def test_to_dict_is_json_with_every_field():
    record = example(HOLDS, TRUST, value=math.nan).to_dict()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["value"] == "nan" and record["middle"] == "inf"
    assert record["count"] == 4 and record["applies"] is True
    assert record["assumptions"][1] == {
        "statement": "c < d",
        "status": "declared",
        "holds": None,
        "detail": "",
    }
