"""The command line: a thin shell over studies, reports and data sets."""

import enum
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from widelimit.studies import Outcome

app = typer.Typer(
    name="widelimit",
    help="Robustness of neural networks: measured at finite width, predicted from "
    "width, depth, initialisation and training regime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(
    help="Data sets: what is here, and fetching.", no_args_is_help=True
)
app.add_typer(data_app, name="data")


class KernelKind(enum.StrEnum):
    """Which kernel a file is asked for."""

    NNGP = "nngp"
    NTK = "ntk"
    JACOBIAN_NNGP = "jacobian-nngp"
    JACOBIAN_NTK = "jacobian-ntk"


class SpectrumKind(enum.StrEnum):
    """Which kernel's eigenvalues are asked for."""

    NNGP = "nngp"
    NTK = "ntk"
    JACOBIAN_NNGP = "jacobian-nngp"
    JACOBIAN_NTK = "jacobian-ntk"


Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
Workers = Annotated[int, typer.Option(min=1, help="Processes that compute trials.")]


@app.command()
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
        _print_json(
            {"studies": [_summary(o) for o in outcomes], "report": str(page.resolve())}
        )
    else:
        for outcome in outcomes:
            _print_claims(outcome)
        typer.echo(f"Done in {time.monotonic() - started:.0f} s. Open {page}")
    _tell_failures(outcomes)


@app.command()
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
            _print_json(
                [
                    {"name": s.name, "title": s.title, "source": s.source}
                    for s in STUDIES.values()
                ]
            )
            return
        _print_table(
            ("study", "what", "source"),
            [(s.name, s.title, s.source) for s in STUDIES.values()],
        )
        return
    study = find_study(name)
    presets = {p: study.configure(p).model_dump(mode="json") for p in study.presets}
    counts = {p: len(list(study.trials(study.configure(p)))) for p in presets}
    if as_json:
        _print_json({"study": name, "presets": presets, "trials": counts})
        return
    typer.echo(f"{study.title}\n{study.question}\nSource: {study.source}\n")
    rows = [
        (field, *(_short(values[field]) for values in presets.values()))
        for field in study.settings.model_fields
    ]
    rows.append(("(trials)", *(str(count) for count in counts.values())))
    _print_table(("setting", *presets), rows)
    typer.echo("Change one with --set name=value; lists are comma-separated.")


@app.command()
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
        _print_json({**_summary(outcome), "report": str(page.resolve())})
    else:
        _print_claims(outcome)
        typer.echo(f"Open {page}")
    _tell_failures([outcome])


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="A study's folder, or a demo's.")],
    as_json: Json = False,
) -> None:
    """Write the page again from the records of a run, finished or not."""
    from widelimit.report import build_report

    page = build_report(directory)
    if as_json:
        _print_json({"report": str(page.resolve())})
    else:
        typer.echo(f"Open {page}")


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """Which data sets are known, which are here, and how to get the others."""
    import dataclasses

    from widelimit.datasets import listing

    entries = [dataclasses.asdict(entry) for entry in listing()]
    if as_json:
        _print_json(entries)
        return
    _print_table(
        ("data set", "here", "rows (train, test)", "where, or how to get it"),
        [
            (
                e["name"],
                "yes" if e["available"] else "no",
                f"{e['n_train'] or '?'}, {e['n_test'] or '?'}",
                str(e["where"] if e["available"] else e["how"]),
            )
            for e in entries
        ],
    )


@data_app.command("fetch")
def data_fetch(
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    as_json: Json = False,
) -> None:
    """Download a data set into the cache, checked and resumable."""
    from widelimit.datasets import fetch

    def show(file: str, have: int, total: int | None) -> None:
        share = f" of {total / 1e6:.1f}" if total else ""
        end = "\r" if sys.stderr.isatty() else ""
        if end:
            sys.stderr.write(f"{file}: {have / 1e6:.1f}{share} MB{end}")

    path = fetch(name, progress=show)
    if as_json:
        _print_json({"data": name, "path": str(path)})
    else:
        typer.echo(f"{name} is in {path}")


@app.command()
def kernel(
    kind: Annotated[KernelKind, typer.Argument(help="Which kernel.")],
    x1: Annotated[Path, typer.Option(help="Inputs, one per row: .npy, .npz or .csv.")],
    out: Annotated[Path, typer.Option(help="File to write, .npz.")],
    activation: Annotated[
        str, typer.Option(help="relu, erf, gelu, ..., leaky-relu:0.2, sine:1.5.")
    ],
    depth: Annotated[int, typer.Option(min=0, help="Number of hidden layers.")],
    x2: Annotated[
        Path | None, typer.Option(help="Other inputs; --x1 again if left out.")
    ] = None,
    weight_std: Annotated[float, typer.Option(help="sigma_w of every layer.")] = 1.0,
    bias_std: Annotated[float, typer.Option(help="sigma_b of every layer.")] = 0.0,
    normalized: Annotated[
        bool, typer.Option("--normalized", help="Scale to E phi(z)^2 = 1.")
    ] = False,
    flatten: Annotated[
        bool, typer.Option("--flatten", help="Make a vector of every input.")
    ] = False,
    memory: Annotated[float, typer.Option(help="GiB beside the result.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Write the kernel of an infinitely wide network between the rows of files.

    Every dense layer, the read-out among them, has weights of variance
    weight_std^2 / fan-in and biases of variance bias_std^2, all trained, in the NTK
    parameterization. The file has the keys nngp and, for the NTK, ntk; float64.
    Jacobian kernels are under jacobian_nngp or jacobian_ntk, n1 x (d+1) x n2 x (d+1):
    of every input the value first, then the derivatives by its d features.
    A file .npz with several arrays is written FILE.npz:KEY.
    """
    from widelimit.kernels.files import write_kernel_file

    done = write_kernel_file(
        kind.value,
        x1,
        x2,
        out,
        activation=activation,
        depth=depth,
        weight_std=weight_std,
        bias_std=bias_std,
        normalized=normalized,
        flatten=flatten,
        memory=memory,
    )
    if as_json:
        _print_json(done)
    else:
        typer.echo(
            f"{' and '.join(done['keys'])}, {' x '.join(map(str, done['shape']))}, in "
            f"{done['seconds']:.1f} s: {done['out']}"
        )


@app.command()
def spectrum(
    kind: Annotated[SpectrumKind, typer.Option("--kernel", help="Which kernel.")],
    data: Annotated[str, typer.Option(help="Table: see `widelimit data list`.")],
    activation: Annotated[
        str, typer.Option(help="erf, gelu, tanh, ..., polynomial:0,0,1, sine:1.5.")
    ],
    depth: Annotated[int, typer.Option(min=1, help="Number of hidden layers.")],
    regularization: Annotated[
        float, typer.Option(help="lambda, by whose root gradients are scaled; 0 to 1.")
    ] = 1.0,
    max_cosine: Annotated[
        float | None,
        typer.Option(help="Drop rows nearer than that to an earlier one."),
    ] = None,
    memory: Annotated[float, typer.Option(help="GiB for the dense matrix.")] = 4.0,
    as_json: Json = False,
) -> None:
    """Smallest and largest eigenvalue of a kernel on a table, with an error bound.

    The conventions are kim2023's: features scaled to [-1, 1] and rows to norm 1, the
    activation normalised, no biases, the first covariance <x, x'>, a read-out of
    variance 1. Of the banknotes, rows nearly parallel to earlier ones are dropped as
    there. The verdict is whether the matrix is positive definite: "holds", "fails"
    (by proof) or "cannot be resolved" in double precision.
    """
    from widelimit.activations import activation_named
    from widelimit.datasets import BANKNOTE_MAX_COSINE, load_table, prepare_table
    from widelimit.kernels.spectrum_network import network_spectrum
    from widelimit.networks import kim2023_network

    phi = activation_named(activation)
    if max_cosine is None and data == "banknote":
        name = activation.strip().lower()
        max_cosine = BANKNOTE_MAX_COSINE.get(name, min(BANKNOTE_MAX_COSINE.values()))
    table = prepare_table(load_table(data), max_cosine=max_cosine)
    found = network_spectrum(
        kim2023_network(depth=depth, width=1, activation=phi),
        table.x,
        kernel=kind.value,
        regularization=regularization,
        memory=memory,
    )
    if as_json:
        _print_json(
            {
                "rows": len(table.x),
                "size": found.size,
                "min": found.min,
                "max": found.max,
                "min_error": found.min_error,
                "verdict": str(found.verdict),
            }
        )
        return
    _print_table(
        ("verdict", "rows", "size", "smallest", "error of it", "largest"),
        [
            (
                str(found.verdict),
                str(len(table.x)),
                str(found.size),
                f"{found.min:.6g}",
                f"{found.min_error:.2g}",
                f"{found.max:.6g}",
            )
        ],
    )
    typer.echo(f"Because {found.why}.")


@app.command()
def accuracy(
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="Page to write."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float64 or float32; both if left out.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Part of an activation's or network's name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare duals and limit kernels with mpmath, and write the table.

    Takes a few minutes. The whole table is written to ./accuracy.md; a part of it
    (--precision, --only) only with --out. The status is 1 where the promise is broken.
    """
    from widelimit.accuracy import accuracy_table, page

    def show(name: str, number: int, count: int) -> None:
        sys.stderr.write(f"[{number}/{count}] {name}\n")

    if out is None and precision is None and only is None:
        out = Path("accuracy.md")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.open("a").close()  # before minutes of work
    table = accuracy_table(precision=precision, only=only, progress=show)
    if out is not None:
        out.write_text(page(table), encoding="utf-8")
    if as_json:
        _print_json({**table.to_dict(), "out": None if out is None else str(out)})
    else:
        _print_table(
            ("promise", "what", "quantity", *table.precisions),
            [
                (
                    "kept" if row.kept else "broken",
                    row.subject,
                    row.quantity,
                    *(
                        f"{cell.worst.error:.1e}" if cell.worst else ""
                        for cell in row.cells.values()
                    ),
                )
                for row in table.rows
            ],
        )
        typer.echo(table.verdict if out is None else f"{table.verdict} See {out}")
    _end(int(bool(table.broken)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name; by default that of this process.

    Returns:
        The exit status: 0, or 1 if no trial of a study has succeeded, or 2 after an
        error in what was asked, or 130 after an interruption.
    """
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())  # one's own study, `module:attribute`
    try:
        status = app(arguments, prog_name="widelimit", standalone_mode=False)
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted. Run the same command again to go on.\n")
        sys.stderr.flush()
        os._exit(130)  # compiled code may still be running in another thread
    except typer.Abort:
        return 130
    except Exception as error:
        usage = getattr(error, "show", None)  # a mistake in the command's own words
        if usage is not None:
            usage()
        elif isinstance(error, ValueError | OSError | ImportError) or (
            type(error) is RuntimeError  # such as a directory in use
        ):
            sys.stderr.write(f"Error: {error}\n")
        else:
            raise
        return 2
    return status if isinstance(status, int) else 0


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
            why = (failed[0].error or "").strip().splitlines()[-1:]
            sys.stderr.write(
                f"{len(failed)} of {len(outcome.records)} trials of "
                f"{outcome.reference} failed, the first with: {' '.join(why)}\n"
            )
            status = max(status, int(len(failed) == len(outcome.records)))
    if status:
        raise typer.Exit(status)


def _end(status: int) -> None:
    """Ends the command, unless the status is 0."""
    if status:
        raise typer.Exit(status)


def _print_claims(outcome: "Outcome") -> None:
    rows = [
        (
            claim.verdict,
            claim.statement,
            f"{claim.statistic:.3g} ± {claim.uncertainty:.2g}",
        )
        for claim in outcome.claims()
    ]
    _print_table(("verdict", outcome.study.title, "statistic"), rows)


def _print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(*map(escape, head), header_style="bold", box=None, pad_edge=False)
    colors = {"holds": "green", "does not hold": "red", "undecided": "yellow"}
    for row in rows:
        first, *others = map(escape, row)
        first = f"[{colors[first]}]{first}[/]" if first in colors else first
        table.add_row(first, *others)
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(table)


def _print_json(value: Any) -> None:
    print(json.dumps(value, allow_nan=False))


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"`--set` needs KEY=VALUE. Got {text!r}.")
    return name.strip(), value.strip()


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(v) for v in value)
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
