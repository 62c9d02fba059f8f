"""Score a checkpoint on corpora that it has not learned from, in labels that all of them share.

    python code/score_elsewhere.py --checkpoint meld --datasets EmoryNLP,iemocap
    python code/score_elsewhere.py --checkpoint meld --datasets sample,meld,EmoryNLP,iemocap \\
        --output demo/adapters/meld/README.md

Answers and gold labels are compared in the unified labels of the paper's feeling wheel. It prints a table; --json
writes every number, --output puts the table, and what to know of the checkpoint, between the marks of a page. The
checkpoint is asked as it was trained, its filter of transitions included; nothing is chosen by these scores.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from basics.argument_parsing import LineParser, output_file
from basics.errors import UserError
from basics.files import write_atomically
from basics.markdown import open_section
from data_utils.corpora.places import find_corpus, pickle_of
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import find_original_data, load_dialogues
from data_utils.examples import DEFAULT_WINDOW
from data_utils.labels import ROW_SETS, SPLITS, UNIFIED, DatasetSpec
from knobs.flags import add_knob
from knobs.table import KNOBS

if TYPE_CHECKING:
    from experiment_utils.beyond.elsewhere import Elsewhere
    from training.erc_config import ErcConfig

MARKS = "elsewhere"


def main() -> None:
    """Arguments -> a table on stdout."""
    arguments = parse_arguments()
    places = {name: arguments.original_data or find_original_data(name) for name in arguments.datasets}
    specs = {name: find_dataset(name, place) for name, place in places.items()}
    write_section = open_section(arguments.output, MARKS)

    # Late: --help and what is wrong with a flag need no torch.
    from data_utils.mixing import specs_of_mix
    from experiment_utils.beyond.elsewhere import render_elsewhere, score_elsewhere
    from own_dialogues.checkpoint import ensure_base, find_checkpoint
    from own_dialogues.demonstrations import DemonstrationSource
    from own_dialogues.recognizer import EmotionRecognizer
    from training.erc_config import read_erc_config
    from training.rows.trained_texts import read_trained_texts

    folder = find_checkpoint(arguments.checkpoint)
    config = read_erc_config(folder)
    learned_in = find_place(config.dataset, arguments.original_data)
    learned = find_learned(config, learned_in)
    refuse_unfit(config, learned, specs, arguments.split)  # before anything is loaded
    specs = specs_of_mix(places, arguments.original_data)  # with the speaker numbers that a mix of them has
    corpora = {
        name: load_dialogues(name, place, config.clean_text, arguments.check_counts)[arguments.split]
        for name, place in places.items()
    }
    ensure_base(folder)
    recognizer = EmotionRecognizer.from_pretrained(folder, demonstrations=DemonstrationSource(None, learned_in))
    trained = read_trained_texts(folder)
    scores = []
    for name, dialogues in corpora.items():
        print(f"{name}: {sum(len(one.utterances) for one in dialogues):,} utterances", file=sys.stderr)
        scores.append(score_elsewhere(recognizer, learned, specs[name], arguments.split, dialogues, trained))
    table = render_elsewhere(scores)
    if arguments.json:
        write_atomically(arguments.json, json.dumps([asdict(one) for one in scores], indent=1) + "\n")
    if arguments.output:
        write_section(f"{table}\n\n{describe_rows_and_limits(folder, scores)}")
    print(table)


def refuse_unfit(config: "ErcConfig", learned: DatasetSpec, asked: Mapping[str, DatasetSpec], split: str) -> None:
    """Refuses what cannot be compared. learned: the dataset of the checkpoint.

    Raises:
        UserError: a dataset has no unified labels; or an utterance that is asked about may be its own demonstration,
            with its gold label.
    """
    from experiment_utils.beyond.elsewhere import unified_labels

    for spec in (learned, *asked.values()):
        unified_labels(spec)
    if config.retrieval and split == "train" and config.dataset in asked:
        told = f"the prompts of the checkpoint show utterances of {config.dataset}'s train with their labels"
        raise UserError(f"--split train: {told}; allowed are valid and test, or other --datasets")


def find_place(dataset: str, original_data: Path | None) -> Path | None:
    """`original_data` where it holds the corpus; None: the corpus is where others lie."""
    if original_data is None:
        return None
    holds = find_corpus(dataset, original_data) or pickle_of(dataset, original_data).is_file()
    return original_data if holds else None


def find_learned(config: "ErcConfig", original_data: Path | None) -> DatasetSpec:
    """What a checkpoint has learned from. original_data: folder of a corpus of one's own; None: the default one.

    Raises:
        UserError: the corpus is not there, or lacks a label of the checkpoint by now.
    """
    name = config.dataset
    learned = ROW_SETS.get(name)
    if learned is None:
        learned = find_dataset(name, original_data)
        if lost := [label for label in config.labels if label not in learned.labels]:
            told = f"{name} has no label {', '.join(lost)} now, and the checkpoint answers so"
            raise UserError(f"{told}, allowed is the corpus that it was trained on")
    return replace(learned, speaker_offset=config.speaker_offset)


def describe_rows_and_limits(folder: Path, scores: Sequence["Elsewhere"]) -> str:
    """Markdown below the table: the command that writes the rows of the checkpoint's own test, if known; its limits.

    scores: those of the table, which the limits mention.
    """
    from own_dialogues.facts import find_facts

    facts = find_facts(folder)
    command = command_of_rows(facts.config)
    facts = replace(facts, elsewhere={one.dataset: one.weighted_f1 for one in scores})
    rows = [f"`python code/{command}` writes the rows that it was scored on in its run.", ""] if command else []
    return "\n".join([*rows, *(f"- {one}" for one in facts.limits())])


def command_of_rows(config: "ErcConfig") -> str | None:
    """The row writer, with flags, of a checkpoint's test rows; None for those of a mix, whose sets it does not tell,
    and those with demonstrations, whose encoder it tells by name alone.
    """
    if config.dataset == UNIFIED.name or config.retrieval:
        return None
    clean = " --clean_text True" if config.clean_text else ""
    if config.kind == "plain":
        return f"data_process_plain.py --dataset {config.dataset}{clean}"
    shown = f"--prompt {config.prompt} --window_step {config.window_step}"
    window = "" if config.historical_window == DEFAULT_WINDOW else f" --historical_window {config.historical_window}"
    return f"data_process.py --dataset {config.dataset} {shown}{window}{clean}"


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked = "which corpora are asked, joined by commas; for a mix with corpora of one's own all of it, in its order"
    add_knob(parser, replace(KNOBS["datasets"], meaning=asked))
    add_knob(parser, KNOBS["check_counts"])
    parser.add_argument(
        "--checkpoint",
        help="name of a shipped one (meld, EmoryNLP, sample), or folder that training saved (default: as predict.py)",
    )
    parser.add_argument("--split", choices=SPLITS, default=SPLITS[-1], help="what is scored (default: %(default)s)")
    parser.add_argument(
        "--original_data", type=Path, help="folder of the corpora (default: $ERC_ORIGINAL_DATA, else original_data/)"
    )
    parser.add_argument("--json", type=output_file, help="file for all numbers")
    parser.add_argument(
        "--output", type=output_file, help=f"page that gets the table, between <!-- {MARKS}: begin --> and end"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
