"""The command line: a thin shell over studies, reports, kernels and data sets."""

import os
import sys
from collections.abc import Sequence

import typer

from widelimit.cli import data, kernels, studies

app = typer.Typer(
    name="widelimit",
    help="Robustness of neural networks: measured at finite width, predicted from "
    "width, depth, initialisation and training regime.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    studies.demo,
    studies.studies,
    studies.run,
    studies.report,
    kernels.kernel,
    kernels.spectrum,
    kernels.accuracy,
):
    app.command()(command)
data_app = typer.Typer(
    help="Data sets: what is here, and fetching.", no_args_is_help=True
)
data_app.command("list")(data.data_list)
data_app.command("fetch")(data.data_fetch)
app.add_typer(data_app, name="data")


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
