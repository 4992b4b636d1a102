"""What every bound returns: a value, and all that it depends on."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Assumption:
    """A hypothesis of a theorem, and what is known about it here.

    Args:
        statement: The hypothesis, as a claim.
        status: `"checked"` if it was tested on the given data and network,
            `"declared"` if the caller answers for it, `"unresolved"` if rounding hid
            the outcome.
        holds: The outcome of the test; `None` if there is none.
        detail: The numbers behind the outcome.
    """

    statement: str
    status: Literal["checked", "declared", "unresolved"]
    holds: bool | None
    detail: str = ""

    @classmethod
    def checked(cls, statement: str, holds: bool, detail: str = "") -> "Assumption":
        """A hypothesis that was tested, with its outcome."""
        return cls(statement, "checked", holds, detail)

    @classmethod
    def declared(cls, statement: str, detail: str = "") -> "Assumption":
        """A hypothesis that cannot be tested from what the function was given."""
        return cls(statement, "declared", None, detail)

    @classmethod
    def unresolved(cls, statement: str, detail: str = "") -> "Assumption":
        """A hypothesis whose test needs more digits than there are."""
        return cls(statement, "unresolved", None, detail)

    def __str__(self) -> str:
        verdict = {True: "holds", False: "FAILS", None: self.status}[self.holds]
        return f"[{verdict}] {self.statement}" + (
            f" ({self.detail})" if self.detail else ""
        )


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The value of a theorem for one network and data set.

    Theorems with intermediate quantities return a subclass that names them as further
    fields.

    Args:
        name: Which statement.
        source: Paper, and equation or section.
        kind: Whether `value` bounds the quantity from above, from below, or equals it.
        quantity: What is bounded, with its unit.
        value: The number. It is infinite where an upper bound does not exist.
        assumptions: Every hypothesis, checked or declared.
        constants: Unspecified constants of the statement, all set to 1.
        vacuous: Whether `value` says nothing that is not known without the theorem;
            `None` if there is nothing to compare it with.
        reason: Why it is vacuous or not.
    """

    name: str
    source: str
    kind: Literal["upper", "lower", "exact"]
    quantity: str
    value: float
    assumptions: tuple[Assumption, ...]
    constants: tuple[str, ...]
    vacuous: bool | None
    reason: str

    @property
    def applies(self) -> bool:
        """Whether no checked assumption fails; declared ones are taken on trust."""
        return all(a.holds is not False for a in self.assumptions)

    @property
    def parts(self) -> dict[str, Any]:
        """The intermediate quantities that this theorem names, in order."""
        names = [f.name for f in dataclasses.fields(self)]
        common = {f.name for f in dataclasses.fields(Bound)}
        return {name: getattr(self, name) for name in names if name not in common}

    def to_dict(self) -> dict[str, Any]:
        """The bound as values that `json` can write, `applies` included.

        Returns:
            All fields by name. Numbers that JSON lacks become the strings `"inf"`,
            `"-inf"` and `"nan"`.
        """
        return _plain(dataclasses.asdict(self) | {"applies": self.applies})

    def __str__(self) -> str:
        relation = {"upper": "<=", "lower": ">=", "exact": "="}[self.kind]
        vacuous = {True: "yes", False: "no", None: "not known"}[self.vacuous]
        lines = [
            f"{self.name} ({self.source})",
            f"  {self.quantity} {relation} {self.value:.6g}",
            f"  applies: {'yes' if self.applies else 'no'}",
            *(f"    {assumption}" for assumption in self.assumptions),
            f"  constants set to 1: {'; '.join(self.constants) or 'none'}",
            f"  vacuous: {vacuous} ({self.reason})",
        ]
        for name, part in self.parts.items():
            shown = f"{part:.6g}" if isinstance(part, float) else str(part)
            lines.append(f"  {name} = {shown}")
        return "\n".join(lines)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
