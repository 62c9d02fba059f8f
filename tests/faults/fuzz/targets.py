"""Every reader of the program that is fuzzed: name -> how it is let read, and good files to begin with."""

from collections.abc import Collection
from importlib import import_module

from tests.faults.fuzz.target import Target

MODULES = ("dialogue_targets", "data_targets", "run_targets")


def load_targets(wanted: Collection[str] = ("all",)) -> dict[str, Target]:
    """All of them; wanted: those of the modules up to the ones that have these, as each imports its own libraries."""
    found: dict[str, Target] = {}
    for name in MODULES:
        if not {*wanted} <= found.keys():
            found |= import_module(f"tests.faults.fuzz.{name}").TARGETS
    return found
