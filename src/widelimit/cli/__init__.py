"""The command line `widelimit`."""

from widelimit.cli.app import app, main

__all__ = ["app", "main"]
