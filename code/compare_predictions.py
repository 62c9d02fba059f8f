"""Count on how many rows two runs give the same label, and show rows on which they differ.

    python code/compare_predictions.py experiments/a/predictions.jsonl experiments/b/predictions.jsonl

The first line says how many labels are equal; below it stands each row that differs: id, target, both labels.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from pathlib import Path

from basics.argument_parsing import LineParser
from basics.errors import UserError
from basics.words import counted
from data_utils.labels import INVALID
from scoring.metrics import Prediction
from scoring.prediction_files import read_predictions

IDS_SHOWN = 3

Pair = tuple[Prediction, Prediction]


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("first", type=Path, help="predictions.jsonl of one run")
    parser.add_argument("second", type=Path, help="predictions.jsonl of another run over the same rows")
    return parser.parse_args()


def pair_rows(first: Path, second: Path) -> list[Pair]:
    """The predictions of two files row by row, in the order of the first.

    Raises:
        UserError: a file cannot be read or has no row; a row stands in one of them only, or twice, or with
            another target.
    """
    runs = [_by_row(path) for path in (first, second)]
    lonely = sorted(runs[0].keys() ^ runs[1].keys())
    if lonely:
        shown = ", ".join(identifier for identifier, _ in lonely[:IDS_SHOWN])
        raise UserError(f"{first} and {second} are not of the same rows: {len(lonely)} stand in one only ({shown})")
    pairs = [(one, runs[1][row]) for row, one in runs[0].items()]
    wrong = next((one for one, other in pairs if one.target != other.target), None)
    if wrong:
        raise UserError(f"{first} and {second} are not of the same rows: {wrong.id} has two targets")
    return pairs


def _by_row(path: Path) -> dict[tuple[str, str], Prediction]:
    rows: dict[tuple[str, str], Prediction] = {}
    for prediction in read_predictions(path):
        if rows.setdefault((prediction.id, prediction.task), prediction) is not prediction:
            raise UserError(f"{path}: row {prediction.id} stands there twice")
    if not rows:
        raise UserError(f"{path}: holds no rows; give a file of predictions")
    return rows


def render_comparison(pairs: list[Pair]) -> str:
    """The share of equal labels in percent, then one line a row that differs: id, target, label A, label B."""
    apart = [(one, other) for one, other in pairs if one.label != other.label]
    same = len(pairs) - len(apart)
    lines = [f"same label: {100 * same / len(pairs):.2f}% ({same:,} of {counted(len(pairs), 'row')})"]
    if apart:
        lines.append("id\ttarget\tlabel A\tlabel B")
    lines += ["\t".join((one.id, one.target, one.label or INVALID, other.label or INVALID)) for one, other in apart]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Two files -> the comparison on stdout."""
    arguments = parse_arguments()
    sys.stdout.write(render_comparison(pair_rows(arguments.first, arguments.second)))


if __name__ == "__main__":
    run_script(main)
