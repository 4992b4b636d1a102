"""Commands for kernels, their eigenvalues and their accuracy."""

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from widelimit.cli.output import Json, print_json, print_table


class KernelKind(enum.StrEnum):
    """Which kernel."""

    NNGP = "nngp"
    NTK = "ntk"
    JACOBIAN_NNGP = "jacobian-nngp"
    JACOBIAN_NTK = "jacobian-ntk"


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
        print_json(done)
    else:
        typer.echo(
            f"{' and '.join(done['keys'])}, {' x '.join(map(str, done['shape']))}, in "
            f"{done['seconds']:.1f} s: {done['out']}"
        )


def spectrum(
    kind: Annotated[KernelKind, typer.Option("--kernel", help="Which kernel.")],
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
        print_json(
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
    print_table(
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
        print_json({**table.to_dict(), "out": None if out is None else str(out)})
    else:
        print_table(
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


def _end(status: int) -> None:
    """Ends the command, unless the status is 0."""
    if status:
        raise typer.Exit(status)
