"""What commands print: tables for people, JSON for programs."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table; verdicts in its first column have colours.

    Args:
        head: Names of the columns.
        rows: Their texts.
    """
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


def print_json(value: Any) -> None:
    """Prints JSON, without numbers that JSON has not.

    Args:
        value: Made of dictionaries, lists, texts, numbers and `None`.
    """
    print(json.dumps(value, allow_nan=False))
