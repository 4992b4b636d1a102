"""Commands for studies and their pages."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from widelimit.cli.output import Json, print_json, print_table

if TYPE_CHECKING:
    from widelimit.studies import Outcome

Workers = Annotated[int, typer.Option(min=1, help="Processes that compute trials.")]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for records and the page.")] = Path(
        "widelimit-demo"
    ),
    workers: Workers = 1,
    as_json: Json = False,
) -> None:
    """Run the quick studies, small, on scikit-learn's digits, and write one page.

    Takes a minute or two on two cores; run it again to go on after an interruption.
    """
    from widelimit.report import build_report
    from widelimit.studies import STUDIES, run_study

    started = time.monotonic()
    outcomes = []
    quick = [study for study in STUDIES.values() if study.demo]
    for number, study in enumerate(quick, start=1):
        if not as_json:
            typer.echo(f"[{number}/{len(quick)}] {study.title}", err=True)
        directory = out / study.name
        outcomes.append(run_study(study, directory, workers=workers, others=outcomes))
    if not as_json:
        typer.echo("Writing the page ...", err=True)
    page = build_report(out)
    if as_json:
        print_json(
            {"studies": [_summary(o) for o in outcomes], "report": str(page.resolve())}
        )
    else:
        for outcome in outcomes:
            _print_claims(outcome)
        typer.echo(f"Done in {time.monotonic() - started:.0f} s. Open {page}")
    _tell_failures(outcomes)


def studies(
    name: Annotated[
        str | None, typer.Argument(help="Show one study's settings and presets.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the studies, or show the settings and presets of one."""
    from widelimit.studies import STUDIES, find_study

    if name is None:
        if as_json:
            print_json(
                [
                    {"name": s.name, "title": s.title, "source": s.source}
                    for s in STUDIES.values()
                ]
            )
            return
        print_table(
            ("study", "what", "source"),
            [(s.name, s.title, s.source) for s in STUDIES.values()],
        )
        return
    study = find_study(name)
    presets = {p: study.configure(p).model_dump(mode="json") for p in study.presets}
    counts = {p: len(list(study.trials(study.configure(p)))) for p in presets}
    if as_json:
        print_json({"study": name, "presets": presets, "trials": counts})
        return
    typer.echo(f"{study.title}\n{study.question}\nSource: {study.source}\n")
    rows = [
        (field, *(_short(values[field]) for values in presets.values()))
        for field in study.settings.model_fields
    ]
    rows.append(("(trials)", *(str(count) for count in counts.values())))
    print_table(("setting", *presets), rows)
    typer.echo("Change one with --set name=value; lists are comma-separated.")


def run(
    study: Annotated[str, typer.Argument(help="A study's name, or module:attribute.")],
    preset: Annotated[str, typer.Option(help="quick, laptop or paper.")] = "quick",
    data: Annotated[str | None, typer.Option(help="Data set.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds per point.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for records and the page.")
    ] = None,
    workers: Workers = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try failed trials again.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a study: what is missing of its grid, then its claims and its page.

    An interrupted run goes on where it was when it is started again.
    """
    from widelimit.report import build_report
    from widelimit.studies import run_study

    asked: dict[str, Any] = dict(_pair(change) for change in changes or [])
    asked |= {} if data is None else {"data": data}
    asked |= {} if seeds is None else {"seeds": seeds}
    directory = out or Path("widelimit-runs") / study.replace(":", "-")
    outcome = run_study(
        study,
        directory,
        preset=preset,
        changes=asked,
        workers=workers,
        retry_failed=retry_failed,
    )
    page = build_report(directory)
    if as_json:
        print_json({**_summary(outcome), "report": str(page.resolve())})
    else:
        _print_claims(outcome)
        typer.echo(f"Open {page}")
    _tell_failures([outcome])


def report(
    directory: Annotated[Path, typer.Argument(help="A study's folder, or a demo's.")],
    as_json: Json = False,
) -> None:
    """Write the page again from the records of a run, finished or not."""
    from widelimit.report import build_report

    page = build_report(directory)
    if as_json:
        print_json({"report": str(page.resolve())})
    else:
        typer.echo(f"Open {page}")


def _summary(outcome: "Outcome") -> dict[str, Any]:
    done = [record for record in outcome.records if record.status == "done"]
    return {
        "study": outcome.reference,
        "claims": [claim.to_dict() for claim in outcome.claims()],
        "records": len(done),
        "failed": len(outcome.records) - len(done),
    }


def _tell_failures(outcomes: "Sequence[Outcome]") -> None:
    """Says what has failed; the command fails where no trial of a study succeeded."""
    status = 0
    for outcome in outcomes:
        failed = [record for record in outcome.records if record.status == "failed"]
        if failed:
            sys.stderr.write(
                f"{len(failed)} of {len(outcome.records)} trials of "
                f"{outcome.reference} failed, the first with: {failed[0].reason}\n"
            )
            status = max(status, int(len(failed) == len(outcome.records)))
    if status:
        raise typer.Exit(status)


def _print_claims(outcome: "Outcome") -> None:
    rows = [
        (claim.verdict, claim.statement, claim.measured) for claim in outcome.claims()
    ]
    print_table(("verdict", outcome.study.title, "statistic"), rows)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"`--set` needs KEY=VALUE. Got {text!r}.")
    return name.strip(), value.strip()


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return "-" if value is None else str(value)
