"""The studies by name, and how to name one's own."""

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from widelimit.studies.attack_convergence import ATTACK_CONVERGENCE
from widelimit.studies.base import Study
from widelimit.studies.certified_gap import CERTIFIED_GAP
from widelimit.studies.early_stopping import EARLY_STOPPING
from widelimit.studies.eigenfeatures import EIGENFEATURES
from widelimit.studies.flip_depth import FLIP_DEPTH
from widelimit.studies.flip_dimension import FLIP_DIMENSION
from widelimit.studies.flip_histogram import FLIP_HISTOGRAM
from widelimit.studies.gp_convergence import GP_CONVERGENCE
from widelimit.studies.gram_depth import GRAM_DEPTH
from widelimit.studies.gram_stability import GRAM_STABILITY
from widelimit.studies.jntk_constancy import JNTK_CONSTANCY
from widelimit.studies.jntk_convergence import JNTK_CONVERGENCE
from widelimit.studies.lazy_ratio import LAZY_RATIO
from widelimit.studies.linear_convergence import LINEAR_CONVERGENCE
from widelimit.studies.min_eigenvalue import MIN_EIGENVALUE
from widelimit.studies.regime_accuracy import REGIME_ACCURACY
from widelimit.studies.robust_deviation import ROBUST_DEVIATION
from widelimit.studies.robust_dimension import ROBUST_DIMENSION
from widelimit.studies.robust_distance import ROBUST_DISTANCE
from widelimit.studies.robust_limit import ROBUST_LIMIT
from widelimit.studies.stability_cnn import STABILITY_CNN
from widelimit.studies.stability_depth import STABILITY_DEPTH
from widelimit.studies.stability_regime import STABILITY_REGIME
from widelimit.studies.stability_resnet import STABILITY_RESNET
from widelimit.studies.stability_width import STABILITY_WIDTH

STUDIES: Mapping[str, Study] = MappingProxyType(
    {
        study.name: study
        for study in (
            LAZY_RATIO,
            STABILITY_WIDTH,
            STABILITY_REGIME,
            STABILITY_DEPTH,
            EARLY_STOPPING,
            STABILITY_CNN,
            STABILITY_RESNET,
            REGIME_ACCURACY,
            LINEAR_CONVERGENCE,
            GRAM_STABILITY,
            GRAM_DEPTH,
            MIN_EIGENVALUE,
            EIGENFEATURES,
            GP_CONVERGENCE,
            JNTK_CONVERGENCE,
            JNTK_CONSTANCY,
            ROBUST_LIMIT,
            FLIP_DIMENSION,
            FLIP_HISTOGRAM,
            FLIP_DEPTH,
            ROBUST_DIMENSION,
            ROBUST_DEVIATION,
            ROBUST_DISTANCE,
            CERTIFIED_GAP,
            ATTACK_CONVERGENCE,
        )
    }
)


def find_study(name: str) -> Study:
    """The study of that name, or the one at `module:attribute`.

    Args:
        name: A key of `STUDIES`, or where one's own study stands.

    Returns:
        The study.

    Raises:
        ValueError: If there is no such study.
    """
    if name in STUDIES:
        return STUDIES[name]
    module, colon, attribute = name.partition(":")
    if module and colon:
        try:
            study = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise ValueError(
                f"`find_study` needs a study at `module:attribute`. Got {name!r}: "
                f"{error}. Is the module on the Python path?"
            ) from error
        if isinstance(study, Study):
            return study
    raise ValueError(
        f"`find_study` needs the name of a study. Got {name!r}. Known: "
        f"{', '.join(STUDIES)}; your own are named `module:attribute`."
    )
