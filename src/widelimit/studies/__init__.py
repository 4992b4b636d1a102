"""Studies: each reproduces a paper's figures on real data and judges its claims."""

from widelimit.studies.base import Settings, Study
from widelimit.studies.catalogue import STUDIES, find_study
from widelimit.studies.figure import (
    Bars,
    Curve,
    Figure,
    HeatMap,
    Histogram,
    Panel,
    Picture,
    Pictures,
)
from widelimit.studies.outcome import Outcome, read_outcome, run_study
from widelimit.studies.verdicts import Claim, Interval, every, interval, judge

__all__ = [
    "STUDIES",
    "Bars",
    "Claim",
    "Curve",
    "Figure",
    "HeatMap",
    "Histogram",
    "Interval",
    "Outcome",
    "Panel",
    "Picture",
    "Pictures",
    "Settings",
    "Study",
    "every",
    "find_study",
    "interval",
    "judge",
    "read_outcome",
    "run_study",
]
