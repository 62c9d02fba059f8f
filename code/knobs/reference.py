"""Makes the table of knobs in code/README.md, and the --help of the scripts, from the table of knobs."""

import shutil
import textwrap
from collections.abc import Iterator

from basics.markdown import render_table as render_markdown
from data_utils.corpora.places import SMALL_TRAIN
from data_utils.corpora.sizes import FEW_UTTERANCES
from knobs.kinds import Kind
from knobs.knob import Knob
from knobs.readers import MIXED, PLAIN, WINDOW
from knobs.table import KNOBS

NUMBERS = {int: "whole number", float: "number"}
INDENT = " " * 24  # before the meaning, as argparse has it
HEAD = (
    "Settings, each an environment variable that stands before the command. Where a default differs for a base "
    "(Gemma-3-270M counts as SmolLM2-135M), a dataset or another setting, it stands behind that name; "
    f"{SMALL_TRAIN} is a train of fewer than {FEW_UTTERANCES:,} labelled utterances."
)


def render_table() -> str:
    """The table of all knobs, by their groups, in Markdown: name, default, values, meaning."""
    rows = []
    for title, group in _groups(tuple(KNOBS.values())):
        rows += [(f"**{title}**", "", "", ""), *map(_row, group)]
    return render_markdown(("knob", "default", "values", "meaning"), rows)


def render_help(rows: str) -> str:
    """The --help of a script with this kind of rows: the knobs that it reads, by their groups."""
    read = tuple(knob for knob in KNOBS.values() if _may_be_set(knob, rows))
    width = shutil.get_terminal_size().columns - 2
    parts = [textwrap.fill(HEAD, width)]
    for title, group in _groups(read):
        parts += ["", f"{title}:", *(_paragraph(knob, rows, width) for knob in group)]
    return "\n".join([*parts, "", "Further arguments are those of code/main_new.py, whose --help has them."])


def _may_be_set(knob: Knob, rows: str) -> bool:
    """Whether a script with this kind of rows reads a knob that is not fixed there, as `dataset` is for mixed rows."""
    choices, usual = knob.kind.choices, knob.recipes.get(rows)
    return any(rows in reader.rows for reader in knob.readers) and (not choices or usual in (None, *choices))


def _groups(knobs: tuple[Knob, ...]) -> Iterator[tuple[str, list[Knob]]]:
    for title in dict.fromkeys(knob.readers[0].title for knob in knobs):
        yield title, [knob for knob in knobs if knob.readers[0].title == title]


def _paragraph(knob: Knob, rows: str, width: int) -> str:
    kind = knob.kind
    values = f"{{{','.join(kind.choices)}}}" if kind.choices else _values(kind).upper().replace(" ", "_")
    names = ", ".join(f"{name}={values}" for name in (knob.name, knob.also) if name)
    told = knob.told.replace("`", "") + ", or a corpus of your own" * bool(kind.further) + _defaults_in(knob, rows)
    return f"  {names}\n" + textwrap.fill(told, width, initial_indent=INDENT, subsequent_indent=INDENT)


def _defaults_in(knob: Knob, rows: str) -> str:
    """' (default: ...)' of a knob in a script with this kind of rows, by the order of `find_default`; or nothing."""
    found = {"": knob.recipes.get(rows, knob.default)}
    for words, value in knob.recipes.items():
        others = [word for word in words.split() if word != rows]
        if {*others} & {WINDOW, PLAIN, MIXED} or (rows in knob.recipes and " " not in words):
            continue
        found[" and ".join(others)] = value
    told = "; ".join(f"with {words}: {value}" if words else value for words, value in found.items() if value)
    return f" (default: {told})" if told else ""


def _row(knob: Knob) -> tuple[str, str, str, str]:
    name = f"`{knob.name}`" + (f", `{knob.also}`" if knob.also else "")
    return name, _defaults(knob), _values(knob.kind), knob.told


def _defaults(knob: Knob) -> str:
    special = [f"{words.replace(' ', ', ')}: `{value}`" for words, value in knob.recipes.items()]
    return "; ".join([f"`{knob.default}`" if knob.default is not None else "unset", *special])


def _values(kind: Kind) -> str:
    if kind.choices:
        return " ".join(f"`{choice}`" for choice in kind.choices) + ", a corpus of your own" * bool(kind.further)
    return "path" if kind.path else NUMBERS.get(kind.type, "text")
