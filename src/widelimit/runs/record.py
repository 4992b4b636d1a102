"""The record of one finished trial, and its JSON text."""

import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal

import xarray as xr

from widelimit.runs.config import Config, canonical_json, config_key, plain
from widelimit.runs.encoding import decode_dataset, encode_dataset

FORMAT = 1
RAISED = re.compile(r"[\w.]*(Error|Exception|Exit|Interrupt)(:|$)")


@dataclass(frozen=True, eq=False)
class Record:
    """What one trial gave, with everything needed to trust or repeat it.

    Args:
        config: The trial's configuration, seeds included; plain JSON data.
        started: When it began, ISO 8601 in UTC.
        wall_seconds: How long it took.
        environment: Versions, device and precision (see `environment`).
        values: What it returned; by convention `name_se` is the standard error of
            `name`. `None` if it failed.
        error: Its traceback, or how its process ended; `None` if it did not fail.
    """

    config: Config
    started: str
    wall_seconds: float
    environment: dict[str, Any]
    values: xr.Dataset | None = None
    error: str | None = None
    key: str = field(init=False)
    """Name of the configuration, `config_key(config)`."""

    def __post_init__(self) -> None:
        if (self.values is None) == (self.error is None):
            raise ValueError(
                "`Record` needs either `values` or an `error`. Got "
                f"{'neither' if self.values is None else 'both'}."
            )
        object.__setattr__(self, "config", plain(self.config))
        object.__setattr__(self, "key", config_key(self.config))

    @property
    def status(self) -> Literal["done", "failed"]:
        """Whether the trial returned (`"done"`) or not (`"failed"`)."""
        return "failed" if self.values is None else "done"

    @property
    def reason(self) -> str:
        """The line of `error` that says what was raised; empty if nothing was.

        Notes may stand below it, such as JAX's on frames that it left out.
        """
        lines = (self.error or "").strip().splitlines()
        return next(filter(RAISED.match, reversed(lines)), (lines or [""])[-1])

    def to_json(self) -> str:
        """The record as one line of strict JSON.

        Returns:
            Text from which `from_json` gives back the same record, bit for bit.

        Raises:
            ValueError: If `values` cannot be written; see `encode_dataset`.
        """
        values = None if self.values is None else encode_dataset(self.values)
        data = {
            "format": FORMAT,
            "key": self.key,
            "status": self.status,
            "config": self.config,
            "started": self.started,
            "wall_seconds": self.wall_seconds,
            "environment": self.environment,
            "error": self.error,
            "values": values,
        }
        return json.dumps(data, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> "Record":
        """The record that `to_json` wrote.

        Args:
            text: JSON text.

        Returns:
            The record.

        Raises:
            ValueError: If the text is damaged, or of another format than this version
                of the library writes.
        """
        try:
            data = json.loads(text)
            written = data["format"]
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(
                f"This is not the record of a trial: {error!r}."
            ) from error
        if written != FORMAT:
            raise ValueError(
                f"The record has format {written!r}, and this version of widelimit "
                f"reads format {FORMAT}. Read it with the version that wrote it."
            )
        try:
            values = data["values"]
            record = Record(
                config=data["config"],
                started=data["started"],
                wall_seconds=data["wall_seconds"],
                environment=data["environment"],
                values=None if values is None else decode_dataset(values),
                error=data["error"],
            )
            written_key = data["key"]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"The record is damaged: {error!r}.") from error
        if record.key != written_key:
            raise ValueError(
                f"The record is damaged: its key is {written_key!r}, and its "
                f"configuration {canonical_json(record.config)} has {record.key!r}."
            )
        return record
