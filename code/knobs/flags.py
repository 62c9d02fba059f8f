"""Knobs as flags of a command line: for the row writers, and for main_new.py's dataclasses."""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from basics.argument_parsing import LineParser
from basics.errors import raise_together
from data_utils.corpora.places import find_corpus, name_datasets
from data_utils.labels import DATASETS
from knobs.checks import find_conflicts
from knobs.environment import is_read
from knobs.kinds import DATASET as KIND_OF_NAMES
from knobs.kinds import Kind
from knobs.knob import Knob
from knobs.readers import LORA, SCRIPT, WRITER
from knobs.table import KNOBS


def reading_of(kind: Kind) -> dict[str, Any]:
    """The arguments of `add_argument` for a kind of values: `choices` for a closed set of words, else `type`."""
    is_closed = kind.choices and kind.type is str and not kind.many and not kind.further
    return {"choices": kind.choices} if is_closed else {"type": kind.reader}


def add_knobs(parser: LineParser, rows: str) -> None:
    """Adds the flags of the row writer of a kind of rows, also --encoder, for which the scripts give the folder."""
    for knob in KNOBS.values():
        if _is_for_writer(knob, rows):
            add_knob(parser, knob)


def add_knob(parser: LineParser, knob: Knob) -> None:
    """Adds one knob as a flag; its default is that of no recipe."""
    default = None if knob.default is None else knob.kind.value(knob.default)
    told = knob.told.replace("`", "") + ("" if default is None else f" (default: {knob.default})")
    parser.add_argument(f"--{knob.name}", default=default, help=told, **reading_of(knob.kind))
    if knob.kind.further:
        look_for_datasets(parser, knob.name)


def look_for_datasets(parser: LineParser, flag: str) -> None:
    """Has a parser refuse a name that is no dataset, and no corpus of one's own in the folder of --original_data."""

    def look(parsed: Namespace) -> Iterator[str]:
        place, named = getattr(parsed, "original_data", None), getattr(parsed, flag)
        for name in named if isinstance(named, tuple) else filter(None, [named]):
            if KIND_OF_NAMES.fits(name) and name not in DATASETS and not find_corpus(name, place):
                yield f"--{flag}: {name!r} is not allowed, allowed are {name_datasets(place)}"

    parser.add_look(look)


def refuse_unread(arguments: Namespace, rows: str) -> None:
    """UserError when a flag of a row writer has no effect with the others, or contradicts them."""
    given = {name: value for name, value in vars(arguments).items() if name in KNOBS and value is not None}
    texts = {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in given.items()}
    values = {"Experiments_setting": LORA, "train_on": None} | texts
    problems = []
    for knob in map(KNOBS.get, given):
        unread = not any(is_read(reader, rows, values) for reader in knob.readers)
        if unread and given[knob.name] != knob.kind.value(knob.default):
            problems.append(f"--{knob.name} {texts[knob.name]}: {_condition(knob)}")
    problems += [f"--{name} {values[name] or ''}: {why}" for name, why in find_conflicts(values, rows)]
    raise_together(problems)


def _condition(knob: Knob) -> str:
    name, _, value = knob.readers[0].under.partition("=")
    return f"only --{name} {value} reads it"


def _is_for_writer(knob: Knob, rows: str) -> bool:
    program = SCRIPT if knob.name == "encoder" else WRITER
    return any(reader.program == program and rows in reader.rows for reader in knob.readers)
