"""From directories of records to the page."""

import dataclasses
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from widelimit.report.page import Section, write_page
from widelimit.studies import STUDIES, Outcome, read_outcome


def build_report(directory: str | os.PathLike[str]) -> Path:
    """Write `report.html` into a directory, from the studies whose records it holds.

    Args:
        directory: A study's directory, or one whose subdirectories are studies'.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: If the directory holds no study.
    """
    root = Path(directory)
    outcomes = [read_outcome(path) for path in _studies_in(root)]
    lead = (
        f"Measured on {', '.join(sorted({_data(o) for o in outcomes}))}. Every claim "
        "is judged by a 95 % interval over seeds, with the data held fixed: it holds, "
        "does not hold, or is undecided. Click a legend entry to pick out a curve."
    )
    title = outcomes[0].study.title if len(outcomes) == 1 else "widelimit: robustness"
    sections = [section_of(outcome) for outcome in outcomes]
    if len({section.name for section in sections}) < len(sections):
        # One study several times, say on two data sets: told apart by their folders.
        sections = [
            dataclasses.replace(
                section,
                name=outcome.directory.name,
                title=f"{section.title} ({outcome.directory.name})",
            )
            for section, outcome in zip(sections, outcomes, strict=True)
        ]
    return write_page(root, sections, title=title, lead=lead)


def _studies_in(root: Path) -> Sequence[Path]:
    if (root / "study.json").is_file():
        return [root]
    order = {name: place for place, name in enumerate(STUDIES)}
    found = sorted(
        (path.parent for path in root.glob("*/study.json")),
        key=lambda path: (order.get(path.name, len(order)), path.name),
    )
    if not found:
        raise FileNotFoundError(
            f"`build_report` needs a directory with a study's records. Got `{root}`, "
            "which has no study.json, nor has a folder in it. Run `widelimit run STUDY "
            "--out DIR` first."
        )
    return found


def section_of(outcome: Outcome) -> Section:
    """What the page says about one study.

    Args:
        outcome: The study's results.

    Returns:
        The section.
    """
    study = outcome.study
    return Section(
        name=study.name,
        title=study.title,
        question=study.question,
        source=study.source,
        figures=outcome.figures(),
        claims=outcome.claims(),
        settings=outcome.settings.model_dump(mode="json"),
        facts=_facts(outcome),
        repeat=repeat_command(outcome),
        records=[_row(outcome, record) for record in outcome.records],
        notes=_notes(outcome),
    )


def repeat_command(outcome: Outcome) -> str:
    """The command line that repeats a study: the nearest preset and what differs.

    Args:
        outcome: The study's results.

    Returns:
        A shell command.
    """
    ours = outcome.settings.model_dump()
    choices = []
    for preset in outcome.study.presets:
        theirs = outcome.study.configure(preset).model_dump()
        changed = [
            f"--set {shlex.quote(f'{name}={_text(value)}')}"
            for name, value in ours.items()
            if theirs[name] != value
        ]
        choices.append((len(changed), preset, changed))
    _, preset, changed = min(choices, key=lambda choice: choice[0])
    parts = [
        "widelimit run",
        shlex.quote(outcome.reference),
        f"--preset {shlex.quote(preset)}",
        *changed,
        "--out DIR",
    ]
    return " ".join(parts)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_text(v) for v in value)
    return "none" if value is None else str(value)


def _data(outcome: Outcome) -> str:
    data = getattr(outcome.settings, "data", outcome.study.name)
    return ", ".join(data) if isinstance(data, tuple) else str(data)


def _facts(outcome: Outcome) -> dict[str, str]:
    done = [record for record in outcome.records if record.status == "done"]
    facts = {"trials": f"{len(done)} of {outcome.results['status'].size}"}
    if not done:
        return facts
    seconds = sum(record.wall_seconds for record in done)
    facts["time of all trials"] = f"{seconds:.0f} s"
    if "learning_rate" in outcome.results:
        rates = np.unique(outcome.results["learning_rate"].values)
        told = [f"{rate:.4g}" for rate in rates if np.isfinite(rate)]
        facts["learning rate used"] = ", ".join(told)
    for name in ("widelimit", "jax", "python", "system", "device", "default_float"):
        told = {_told(record.environment.get(name)) for record in done}
        facts[name.replace("_", " ")] = "; ".join(sorted(told))
    return facts


def _told(value: Any) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _row(outcome: Outcome, record: Any) -> dict[str, Any]:
    point = {axis: record.config.get(axis) for axis in outcome.study.axes}
    return {
        "record": record.key[:12],
        **point,
        "status": record.status,
        "seconds": record.wall_seconds,
    }


def _notes(outcome: Outcome) -> list[str]:
    notes = []
    failed = [record for record in outcome.records if record.status == "failed"]
    if failed:
        notes.append(
            f"{len(failed)} trials failed; the first with: {failed[0].reason}. Their "
            "records keep the traceback."
        )
    unfinished = outcome.missing - len(failed)
    if unfinished:
        notes.append(
            f"{unfinished} trials of the grid have not been run yet; the same command "
            "goes on with them."
        )
    diverged = outcome.results.get("diverged_at")
    if diverged is not None and int((diverged > 0).sum()):
        notes.append(
            f"{int((diverged > 0).sum())} trainings diverged; their seeds are left out "
            "of means and statistics after the epoch in which they did."
        )
    if "stability" in outcome.results:
        still = int((outcome.results["stability"].isel(epoch=-1) == 0).sum())
        if still:
            notes.append(
                f"{still} trained networks have a stability of exactly 0 (no unit is "
                "active, or the weights vanish in this precision); logarithms leave "
                "them out of curves and statistics."
            )
    return notes
