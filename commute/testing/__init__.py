"""Help for tests of programs that use the package: `@commutes`, Hypothesis strategies and a pytest plugin.

Names are loaded when first used, since pytest imports this package wherever it is installed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from commute.testing.commuting import commutes
    from commute.testing.strategies import (
        batches,
        domains,
        interchanges,
        interventions,
        models,
        pairs,
        settings,
        tables_over,
        variables,
    )

__all__ = [
    "batches",
    "commutes",
    "domains",
    "interchanges",
    "interventions",
    "models",
    "pairs",
    "settings",
    "tables_over",
    "variables",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'commute.testing' has no attribute {name!r}")
    home = "commuting" if name == "commutes" else "strategies"
    return getattr(import_module(f"commute.testing.{home}"), name)


def __dir__() -> list[str]:
    return list(__all__)
