"""The scores of a run as a table on a terminal, in a file or on a page."""

import sys
from typing import TextIO

from rich import box
from rich.console import Console
from rich.table import Table

from basics.words import counted
from data_utils.labels import WEIGHTED_F1
from results.files import SELECTIONS, Scorecard
from scoring.metrics import EvalResult, field_of, mean_score, name_metric, short_name

TABLE_WIDTH = 100


def print_table(scorecard: Scorecard, title: str, file: TextIO | None = None) -> None:
    """Print the scores of every label, then of the whole, in percent with two decimals.

    file: stdout unless given. Where it is no terminal the table is plain text, at most 100 columns wide.
    """
    console = _make_console(file or sys.stdout)
    console.print(f"{title}: {scorecard.split}, {counted(scorecard.result.rows, 'utterance')}", style="bold")
    console.print(_label_table(scorecard.result))
    console.print()
    console.print(_summary_table(scorecard))


def _make_console(file: TextIO) -> Console:
    """Return a console that never writes colour codes into a file, whatever the environment asks."""
    plain = {} if file.isatty() else {"width": TABLE_WIDTH, "force_terminal": False, "color_system": None}
    return Console(file=file, markup=False, emoji=False, highlight=False, **plain)


def _label_table(result: EvalResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), show_edge=False, pad_edge=False)
    table.add_column("label")
    for name in ("precision", "recall", "F1", "support"):
        table.add_column(name, justify="right")
    for label, scores in result.per_label.items():
        shares = (scores.precision, scores.recall, scores.f1)
        table.add_row(label, *map(_percent, shares), str(scores.support))
    return table


def _summary_table(scorecard: Scorecard) -> Table:
    """Rows of (name, number, note); the headline's name and the longest words of SELECTIONS just fit 100 columns."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column()
    table.add_column(justify="right")
    table.add_column()
    for row in _summary_rows(scorecard):
        table.add_row(*row)
    return table


def _summary_rows(scorecard: Scorecard) -> list[tuple[str, str, str]]:
    result, unseen, majority = scorecard.result, scorecard.unseen, scorecard.majority
    shown, short = dict.fromkeys((result.metric, WEIGHTED_F1)), short_name(result.metric)
    words = SELECTIONS[scorecard.selection]
    if scorecard.split == scorecard.selection == "valid":
        words = "chosen on valid, this very split: not a held-out score"
    rows = [(name_metric(name), _percent(getattr(result, field_of(name))), words) for name in shown]
    rows += [
        ("accuracy", _percent(result.accuracy), ""),
        ("macro F1", _percent(result.macro_f1), "mean over the labels that occur"),
        ("invalid answers", str(result.invalid), "hold no label; each counts as wrong"),
    ]
    if scorecard.without_transitions:
        note = "the model's own answers, before they are filtered"
        rows.append((f"{short} without transitions", _percent(scorecard.without_transitions.score), note))
    if unseen and unseen.rows < result.rows:
        note = f"the {counted(unseen.rows, 'utterance')} whose text was not trained on"
        rows.append((f"{short} on unseen text", _percent(unseen.score), note))
    if scorecard.seen and scorecard.seen.rows == result.rows:
        rows.append((f"{short} on unseen text", "-", "the text of every utterance was trained on"))
    if scorecard.seen_rows is None:
        rows.append((f"{short} on unseen text", "unknown", "the checkpoint does not tell what it was trained on"))
    for name, of_set in scorecard.by_dataset.items():
        rows.append(
            (f"{short_name(of_set.metric)} of {name}", _percent(of_set.score), counted(of_set.rows, "utterance"))
        )
    if scorecard.by_dataset:
        rows.append(("mean of the sets", _percent(mean_score(scorecard.by_dataset)), "each set counts the same"))
    if scorecard.copying:
        note = f"of the answers are its label; of the targets {_percent(scorecard.copying.gold)}"
        rows.append(("demonstration copied", _percent(scorecard.copying.answered), note))
    if majority:
        note = f"always '{majority.label}', the commonest label of train"
        rows.append((f"{short} of majority label", _percent(majority.result.score), note))
    return rows


def _percent(score: float) -> str:
    return f"{score:.2f}"
