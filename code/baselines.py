"""Score what any result should beat, on valid and test: words, sentence vectors, each with and without transitions.

    python code/baselines.py --dataset meld
    python code/baselines.py --dataset meld --encoder none --encoder_finetune all-MiniLM-L6-v2

Prints a table and writes experiments/baselines/<dataset>.json, and the answers with log p of every label to
experiments/baselines/<dataset>/<baseline>/<valid or test>/predictions.jsonl; with the default settings also records for
`reproduce.py --report`. Answers by other settings that an earlier run has left there are removed. All settings are
chosen on valid, and so is the baseline that counts as the best. Transitions filter the answers by which label follows
which; they are fitted on train and valid, and never look at a later turn. The last line, the correct label of the same
speaker's previous utterance, is no baseline but shows what a leak would be worth: no model sees correct labels.
"""

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script

# isort: split
import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bases.encoder import SentenceEncoder
from basics.argument_parsing import LineParser, true_or_false, whole_number
from basics.errors import UserError
from basics.files import find_repository, make_folder, write_atomically
from basics.json_files import read_json
from basics.locks import locked
from basics.stopping import advised
from basics.words import counted
from data_utils.corpora.registry import find_dataset
from data_utils.dialogues import digest_sources, find_original_data, load_dialogues
from data_utils.examples import DEFAULT_WINDOW
from experiment_utils.conditions import EXPERIMENTS
from experiment_utils.evidence import BaselineRun, keep_baseline
from knobs.flags import add_knob
from knobs.knob import NOTHING
from knobs.table import KNOBS
from knobs.writers import add_dataset, add_places, settle_dataset
from scoring.baseline_table import MEANINGS, PREVIOUS_LABEL, WITH_TRANSITIONS, FineTuning, bare_name, name_finetuned
from scoring.contenders import Task
from scoring.prediction_files import PREDICTIONS_FILE, write_predictions
from training.decoding import SCORE, TRANSITIONS
from training.provenance import find_commit

if TYPE_CHECKING:
    from scoring.baselines import Baseline
    from scoring.encoder_finetuning import KeptState


def main() -> None:
    arguments, commit = parse_arguments(), find_commit(find_repository())
    # Late: --help and what is wrong with a flag need no scikit-learn.
    from scoring.baselines import measure_baselines

    source = arguments.original_data or find_original_data(arguments.dataset)
    spec = find_dataset(arguments.dataset, source)
    embed = SentenceEncoder(arguments.encoder, arguments.data / ".embeddings") if arguments.encoder != NOTHING else None
    finetuning = prepare_finetuning(arguments)
    sources = digest_sources([arguments.dataset])
    dialogues = load_dialogues(
        arguments.dataset, source, clean_text=arguments.clean_text, check_counts=arguments.check_counts
    )
    task = Task(spec.name, dialogues, spec.labels, spec.metric, arguments.historical_window, spec.neutral)
    with advised("the same command with --resume True goes on" if finetuning else ""):
        found = measure_baselines(task, embed, finetuning, lambda name: print(f"{name} ...", file=sys.stderr))
    write(arguments, found)
    print_results(arguments.dataset, found)
    if is_usual(arguments):
        make_folder(EXPERIMENTS)
        with locked(EXPERIMENTS):  # a report may be reading there
            keep(arguments, found, commit, sources)


def is_usual(arguments: Namespace) -> bool:
    """Whether the settings are those of the reports: all defaults, but for the encoder that is fine-tuned."""
    usual = parse_arguments(["--dataset", arguments.dataset, "--encoder_finetune", arguments.encoder_finetune])
    return vars(arguments) == vars(usual) | {"resume": arguments.resume}


def keep(arguments: Namespace, found: Sequence["Baseline"], commit: str | None, sources: Mapping[str, str]) -> None:
    """Records, counts and answers of test, from which `reproduce.py --report` makes its tables."""
    more = "" if arguments.encoder_finetune == NOTHING else f" --encoder_finetune {arguments.encoder_finetune}"
    command = f"python code/baselines.py --dataset {arguments.dataset}{more}"
    for baseline in found:
        chosen = ", ".join(f"{name} {value}" for name, value in baseline.settings.items())
        run = BaselineRun(
            row=baseline.name,
            dataset=arguments.dataset,
            meaning=baseline.meaning + (f"; {chosen}" if chosen else ""),
            decode=TRANSITIONS if baseline.transitions else SCORE if baseline.name != PREVIOUS_LABEL else "none",
            valid=baseline.results["valid"].score,
            predictions=baseline.predictions["test"],
            seconds=baseline.seconds,
            commit=commit,
            sources=sources,
        )
        keep_baseline(run, baseline.results["test"].labels, command, EXPERIMENTS)


def parse_arguments(words: Sequence[str] | None = None) -> Namespace:
    """Read and check the command line, or words like it."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_dataset(parser)
    for name in ("clean_text", "check_counts"):
        add_knob(parser, KNOBS[name])
    add_places(parser)
    parser.add_argument(
        "--encoder", default="all-MiniLM-L6-v2", help="sentence encoder; none: words alone (default: %(default)s)"
    )
    parser.add_argument(
        "--encoder_finetune",
        default=NOTHING,
        help="encoder to be fine-tuned with a classifier on top, too; MiniLM took two cores 25 minutes on IEMOCAP "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        type=true_or_false,
        metavar="{True,False}",
        default=False,
        help="go on with a fine-tuning that was stopped (default: %(default)s)",
    )
    parser.add_argument(
        "--historical_window",
        type=whole_number(1),
        default=DEFAULT_WINDOW,
        help="turns before the utterance that are used (default: %(default)s)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=EXPERIMENTS / "baselines",
        help="folder of <dataset>.json and <dataset>/ (default: experiments/baselines)",
    )
    arguments = parser.parse_args(words)
    settle_dataset(arguments)
    if arguments.resume and arguments.encoder_finetune == NOTHING:
        raise UserError("--resume True: there is nothing to go on with without --encoder_finetune")
    return arguments


def prepare_finetuning(arguments: Namespace) -> dict[str, Any] | None:
    """How `--encoder_finetune` is trained, None where it is not asked for; UserError where it cannot be loaded."""
    if arguments.encoder_finetune == NOTHING:
        return None
    from scoring.encoder_finetuning import load_encoder

    load_encoder(arguments.encoder_finetune)  # what is wrong with it is said before the others take their minutes
    folder = arguments.output / arguments.dataset / name_finetuned(arguments.encoder_finetune)
    kept = keep_state_in(folder)
    return {"settings": FineTuning(arguments.encoder_finetune), "kept": kept, "resume": arguments.resume}


def keep_state_in(folder: Path) -> "KeptState":
    """The state of a fine-tuning, in a file of this folder, which is made when there is something to write."""
    from scoring.encoder_finetuning import KeptState
    from training.checkpoints import discard_state, load_state, readable_state, save_state

    def save(state: dict[str, Any]) -> None:
        make_folder(folder)
        save_state(folder, state)

    return KeptState(save, *(partial(way, folder) for way in (load_state, readable_state, discard_state)))


def write(arguments: Namespace, found: Sequence["Baseline"]) -> None:
    """The predictions, then the scores as JSON; predictions by other settings than these do not stay beside them."""
    folder, scores = arguments.output / arguments.dataset, arguments.output / f"{arguments.dataset}.json"
    encoders = {name: Path(getattr(arguments, name)).name for name in ("encoder", "encoder_finetune")}
    settings = encoders | {"historical_window": arguments.historical_window, "clean_text": arguments.clean_text}
    if not is_by(settings, scores):
        remove_predictions(folder)
    for baseline in found:
        for split, predictions in baseline.predictions.items():
            write_predictions(folder / baseline.name / split, predictions)
    content = settings | {baseline.name: describe(baseline) for baseline in found}
    write_atomically(scores, json.dumps(content, indent=2) + "\n")


def is_by(settings: Mapping[str, Any], scores: Path) -> bool:
    """Whether a file of scores is by these settings; the encoder that is fine-tuned stands in its baseline's name."""
    try:
        there = read_json(scores)
    except UserError:
        return False
    named = settings.keys() - {"encoder_finetune"}
    return isinstance(there, dict) and all(there.get(name) == settings[name] for name in named)


def remove_predictions(folder: Path) -> None:
    """Remove those that an earlier run has left, and no other file."""
    for path in folder.glob(f"*/*/{PREDICTIONS_FILE}"):
        split, baseline = path.parent, path.parent.parent
        if split.name in ("valid", "test") and bare_name(baseline.name) in MEANINGS:
            path.unlink()
            for emptied in (split, baseline):
                with suppress(OSError):  # something else lies there
                    emptied.rmdir()


def describe(baseline: "Baseline") -> dict[str, Any]:
    """The scores of test, with those of valid, the settings and the filter beside them."""
    return baseline.results["test"].to_dict() | {
        "meaning": baseline.meaning,
        "settings": dict(baseline.settings),
        "chosen": baseline.chosen,
        "valid": baseline.results["valid"].to_dict(),
        "transitions": baseline.transitions and asdict(baseline.transitions),
    }


def print_results(dataset: str, found: Sequence["Baseline"]) -> None:
    """A line for each baseline: scores of valid and test, by itself and with transitions, meaning."""
    of_name = {baseline.name: baseline for baseline in found}
    width = max(map(len, of_name))
    first = found[0].results
    print(
        f"{dataset}: {first['test'].metric.replace('_', ' ')}, {counted(first['valid'].rows, 'utterance')} of valid, "
        f"{first['test'].rows:,} of test; settings chosen on valid"
    )
    print(f"{'':<{width}}  {'by itself':^17}  {'with transitions':^17}")
    print(f"{'baseline':<{width}}  {'valid':>7} {'test':>7}    {'valid':>7} {'test':>7}")
    for name in (one for one in of_name if not one.endswith(WITH_TRANSITIONS)):
        columns = [score_columns(of_name.get(name + suffix)) for suffix in ("", WITH_TRANSITIONS)]
        print(f"{name:<{width}}  {'  '.join(columns)}  {of_name[name].meaning}")
    best = next(baseline for baseline in found if baseline.chosen)
    print(f"* the best on valid: {best.name}, {best.results['test'].score:.2f} on test")


def score_columns(baseline: "Baseline | None") -> str:
    """Valid and test, and a star where valid chooses it."""
    if baseline is None:
        return f"{'-':>7} {'-':>7}  "
    valid, test = (baseline.results[split].score for split in ("valid", "test"))
    return f"{valid:7.2f} {test:7.2f} {'*' if baseline.chosen else ' '}"


if __name__ == "__main__":
    run_script(main)
