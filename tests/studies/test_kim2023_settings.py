"""What settings of kim2023's studies can be known to be out of range at once."""

import pytest

from widelimit.studies import find_study


@pytest.mark.parametrize(
    ("study", "change", "name"),
    [
        ("jntk-convergence", {"kappa": "1e300"}, "kappa"),
        ("jntk-convergence", {"kappa": "1e-300"}, "kappa"),
        ("jntk-constancy", {"kappa": "1e200"}, "kappa"),
        ("robust-limit", {"kappas": "0.1,1e200"}, "kappas.1"),
        ("robust-limit", {"depth": "3000"}, "depth"),
        ("jntk-constancy", {"depth": "3000"}, "depth"),
        ("gp-convergence", {"depths": "1,3000"}, "depths.1"),
        ("min-eigenvalue", {"depths": "3000"}, "depths.0"),
        ("eigenfeatures", {"depth": "3000"}, "depth"),
        ("eigenfeatures", {"max_depth": "3000"}, "max_depth"),
    ],
)
def test_settings_out_of_the_range_of_floats_are_refused(study, change, name):
    (value,) = (v.split(",")[-1] for v in change.values())
    with pytest.raises(ValueError, match=f"`{study}` needs .* {name}='{value}'"):
        find_study(study).configure("quick", change)
