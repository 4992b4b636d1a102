"""The assumptions of kim2023, checked on a network and data.

Its theorems (3, 7, 9, 10, 11) say that widths, scales and steps exist for which
something holds, and give no formula for them; what can be checked are the assumptions.

References:
    Kim & Yang (2023), https://arxiv.org/abs/2312.03386
"""

from widelimit.bounds.kim2023.assumptions import (
    assumption1,
    assumption2,
    assumption8,
    assumptions,
)

__all__ = ["assumption1", "assumption2", "assumption8", "assumptions"]
