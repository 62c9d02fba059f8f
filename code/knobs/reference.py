"""The table of knobs as Markdown, for code/README.md: made, never typed."""

from basics.markdown import render_table as render_markdown
from knobs.kinds import Kind
from knobs.knob import Knob
from knobs.table import KNOBS

NUMBERS = {int: "whole number", float: "number"}


def render_table() -> str:
    """Every knob by its group: name, default, values, meaning."""
    rows = []
    titles = dict.fromkeys(knob.readers[0].title for knob in KNOBS.values())
    for title in titles:
        group = [knob for knob in KNOBS.values() if knob.readers[0].title == title]
        rows += [(f"**{title}**", "", "", ""), *map(_row, group)]
    return render_markdown(("knob", "default", "values", "meaning"), rows)


def _row(knob: Knob) -> tuple[str, str, str, str]:
    name = f"`{knob.name}`" + (f", `{knob.also}`" if knob.also else "")
    under = knob.readers[0].under
    condition = f"; only with `{under}`" if under else ""
    return name, _defaults(knob), _values(knob.kind), knob.meaning + condition


def _defaults(knob: Knob) -> str:
    special = [f"{words.replace(' ', ', ')}: `{value}`" for words, value in knob.recipes.items()]
    return "; ".join([f"`{knob.default}`" if knob.default is not None else "unset", *special])


def _values(kind: Kind) -> str:
    if kind.choices:
        return " ".join(f"`{choice}`" for choice in kind.choices) + ", a corpus of your own" * bool(kind.further)
    return "path" if kind.path else NUMBERS.get(kind.type, "text")
