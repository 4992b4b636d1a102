"""Commands for data sets."""

import sys
from typing import Annotated

import typer

from widelimit.cli.output import Json, print_json, print_table


def data_list(as_json: Json = False) -> None:
    """Which data sets are known, which are here, and how to get the others."""
    import dataclasses

    from widelimit.datasets import listing

    entries = [dataclasses.asdict(entry) for entry in listing()]
    if as_json:
        print_json(entries)
        return
    print_table(
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
        print_json({"data": name, "path": str(path)})
    else:
        typer.echo(f"{name} is in {path}")
