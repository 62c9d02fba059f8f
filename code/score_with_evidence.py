"""Score answers anew with evidence of the same training utterances beside the model, at the answer.

    python code/score_with_evidence.py --datasets meld,EmoryNLP,iemocap     # the committed answers of runs on test
    python code/score_with_evidence.py --datasets meld --evidence neighbours
    python code/score_with_evidence.py --datasets meld --predictions experiments/<run>/predictions.jsonl
    python code/score_with_evidence.py --datasets meld --predictions test.jsonl --valid valid.jsonl  # and transitions
    python code/score_with_evidence.py --datasets meld --together         # the seeds of a model by their mean log p

linear_models: two logistic regressions of train, over words and over sentence vectors, with the turns before.
neighbours: the labels of the nearest training utterances.

No model is asked again: log p of every label is in the answers. The weight of the evidence is fixed, as chosen on
valid. Answers of valid are scored with other weights too, which is how it was chosen; those of test never are. Where
transitions decoded a run, its own answers are compared, without them; with --valid, the same run's answers there,
transitions are fitted to either and decode both. Files of committed answers
(experiments/predictions/<condition>/*.csv.gz) are read too. --output puts the table between the marks of a page; --keep
lays what committed answers come to beside their records, where `reproduce.py --report` finds it. What a reader of
another corpus needs is its train: a checkpoint has none, so predict.py answers without.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import argparse
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

from basics.argument_parsing import LineParser, output_file
from basics.errors import UserError
from basics.files import find_repository
from basics.locks import locked
from basics.markdown import open_section
from knobs.flags import add_knob
from knobs.table import KNOBS
from scoring.beside import KINDS, PREFERRED

ENCODER = "all-MiniLM-L6-v2"


def main() -> None:
    """Arguments -> a table on stdout."""
    arguments = parse_arguments()
    write_section = open_section(arguments.output, "together" if arguments.together else arguments.evidence)

    # Late: --help and what is wrong with a flag need no torch.
    from bases.encoder import SentenceEncoder
    from experiment_utils.beyond import beside, together

    embed = SentenceEncoder(arguments.encoder, find_repository() / "data" / ".embeddings")
    first, kind, path, valid = arguments.datasets[0], arguments.evidence, arguments.predictions, arguments.valid
    if valid:
        table = beside.render_decoded(beside.decode_file(first, path, valid, kind, embed))
    elif arguments.together:
        found = [one for name in arguments.datasets for one in together.compare_together(name, kind, embed)]
        table = together.render_together(found)
    elif path:
        table = beside.render_weights(beside.compare_file(first, path, kind, embed))
    else:
        # What is kept must be of the answers that it was made from, and no report may read half of it.
        with locked(beside.EXPERIMENTS) if arguments.keep else nullcontext():
            compared = [one for name in arguments.datasets for one in beside.compare_committed(name, kind, embed)]
            if arguments.keep:
                beside.keep_counts(compared)
        table = beside.render_comparison(compared)
    write_section(table)
    print(table)


def parse_arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_knob(parser, replace(KNOBS["datasets"], meaning="whose answers are scored, joined by commas"))
    kinds = "; ".join(f"{name}: {kind.meaning}" for name, kind in KINDS.items())
    parser.add_argument("--evidence", choices=KINDS, default=PREFERRED, help=f"{kinds} (default: %(default)s)")
    parser.add_argument("--encoder", default=ENCODER, help="sentence encoder (default: %(default)s)")
    parser.add_argument("--predictions", type=Path, help="predictions.jsonl of a run on one dataset, of valid or test")
    parser.add_argument("--valid", type=Path, help="predictions.jsonl of the same run on valid, beside --predictions")
    parser.add_argument(
        "--output",
        type=output_file,
        help="page that gets the table, between <!-- EVIDENCE: begin --> and end, by its kind, or <!-- together: ...",
    )
    parser.add_argument(
        "--together", action="store_true", help="the seeds of each model whose answers on valid are committed, as one"
    )
    parser.add_argument("--keep", action="store_true", help="keep the counts of committed answers beside their records")
    arguments = parser.parse_args(words)
    if arguments.predictions and len(arguments.datasets) != 1:
        raise UserError("--predictions is of one run: name its dataset alone in --datasets")
    if arguments.keep and (arguments.predictions or arguments.encoder != ENCODER):
        raise UserError(f"--keep is of committed answers, by {ENCODER}: leave --predictions and --encoder away")
    if arguments.together and (arguments.predictions or arguments.keep):
        raise UserError("--together is of committed answers, and keeps none: leave --predictions and --keep away")
    if arguments.valid and not arguments.predictions:
        raise UserError("--valid stands beside --predictions, the answers of the same run on test")
    return arguments


if __name__ == "__main__":
    run_script(main)
