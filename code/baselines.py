"""Score what any result should beat, on test: majority label, sentence vectors with logistic regression.

    python code/baselines.py --dataset meld

Prints a table and writes experiments/baselines/<dataset>.json. Regularisation is chosen on valid. The last line,
the gold label of the same speaker's previous utterance, is no baseline but a leak bound: no model sees gold labels.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import json
from argparse import Namespace
from pathlib import Path

from bases.encoder import SentenceEncoder
from basics.argument_parsing import LineParser, whole_number
from basics.files import find_repository, write_atomically
from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.examples import DEFAULT_WINDOW
from data_utils.labels import DATASETS
from knobs.flags import add_knob
from knobs.table import KNOBS
from knobs.writers import add_dataset, add_places
from scoring.baselines import EMBEDDING, EMBEDDING_HISTORY, MAJORITY, PREVIOUS_LABEL, measure_baselines
from scoring.metrics import EvalResult

MEANINGS = {
    MAJORITY: "the commonest label of train",
    EMBEDDING: "sentence vector, logistic regression",
    EMBEDDING_HISTORY: "the same, with the mean vector of the turns before",
    PREVIOUS_LABEL: "LEAK BOUND: the gold label of the speaker's previous utterance",
}


def main() -> None:
    arguments = parse_arguments()
    spec = DATASETS[arguments.dataset]
    source = arguments.original_data or find_original_data(arguments.dataset)
    embed = SentenceEncoder(arguments.encoder, arguments.data / ".embeddings")
    dialogues = load_dialogues(
        arguments.dataset, source, clean_text=arguments.clean_text, check_counts=arguments.check_counts
    )
    results = measure_baselines(dialogues, spec.labels, spec.metric, embed, arguments.historical_window)
    write(arguments, results)
    print_results(arguments.dataset, results)


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description="Score what any result should beat.")
    add_dataset(parser)
    for name in ("clean_text", "check_counts"):
        add_knob(parser, KNOBS[name])
    add_places(parser)
    parser.add_argument("--encoder", default="all-MiniLM-L6-v2", help="sentence encoder (default: %(default)s)")
    parser.add_argument(
        "--historical_window",
        type=whole_number(1),
        default=DEFAULT_WINDOW,
        help="turns before the utterance whose mean is taken (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=find_repository() / "experiments" / "baselines",
        help="folder of <dataset>.json (default: experiments/baselines)",
    )
    return parser.parse_args()


def write(arguments: Namespace, results: dict[str, EvalResult]) -> None:
    """The scores as JSON."""
    settings = {"encoder": Path(arguments.encoder).name, "historical_window": arguments.historical_window}
    content = settings | {name: result.to_dict() for name, result in results.items()}
    write_atomically(arguments.output / f"{arguments.dataset}.json", json.dumps(content, indent=2) + "\n")


def print_results(dataset: str, results: dict[str, EvalResult]) -> None:
    """A line for each baseline: score, accuracy, meaning."""
    first = next(iter(results.values()))
    print(f"{dataset}: test, {first.rows} utterances, {first.metric.replace('_', ' ')} and accuracy")
    for name, result in results.items():
        print(f"{name:<18} {result.score:6.2f} {result.accuracy:6.2f}  {MEANINGS[name]}")


if __name__ == "__main__":
    run_script(main)
