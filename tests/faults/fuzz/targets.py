"""Every reader of the program that is fuzzed: name -> how it is let read, and good files to begin with."""

from tests.faults.fuzz import data_targets, dialogue_targets, run_targets

TARGETS = {**dialogue_targets.targets(), **data_targets.TARGETS, **run_targets.TARGETS}
