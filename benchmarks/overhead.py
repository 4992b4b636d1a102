"""What the store, the records and the progress cost in a study."""

import tempfile
import time

from widelimit.runs import LineProgress, run_trials
from widelimit.studies import STUDIES
from widelimit.studies.trial import train_and_measure

TITLE = "Overhead of store, records and progress"
NOTE = (
    "The quick grid of `stability-width` at its three smaller widths: all trials by a "
    "plain loop, then through the store with records and progress, both with compiled "
    "programs at hand. Required: under 5 % of the study's time, its compilation "
    "included."
)


def measure():
    study = STUDIES["stability-width"]
    settings = study.configure(changes={"widths": (16, 32, 64)})
    trials = list(study.trials(settings))
    began = time.perf_counter()
    plain(trials)
    with_compilation = time.perf_counter() - began
    bare = min(clock(lambda: plain(trials)) for _ in range(3))
    stored = min(clock(lambda: through_store(study, settings)) for _ in range(3))
    extra = stored - bare
    return [
        {
            "trials": str(len(trials)),
            "plain loop, s": f"{bare:.2f}",
            "through the store, s": f"{stored:.2f}",
            "of the warm time": f"{extra / bare:.1%}",
            "of the study's time, compilation included": (
                f"**{extra / (with_compilation + extra):.1%}**"
            ),
        }
    ]


def plain(trials):
    for config in trials:
        train_and_measure(config, lambda share: None)


def through_store(study, settings):
    with tempfile.TemporaryDirectory() as folder:
        run_trials(
            folder,
            configuration={"study": study.name},
            trials=list(study.trials(settings)),
            trial=study.trial,
            progress=LineProgress(),
        )


def clock(function):
    began = time.perf_counter()
    function()
    return time.perf_counter() - began
