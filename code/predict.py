"""Say what every speaker of your own dialogues feels, turn by turn.

    python code/predict.py --input demo/dialogue.txt
    python code/predict.py --input chat.txt --preview True       # what would be judged; no model is loaded
    python code/predict.py --checkpoint checkpoint/SmolLM2-135M/lora/meld/window_12 --input scenes.csv \\
        --output emotions.jsonl

A turn is judged by itself and the turns before it: no later one is ever seen. Prompts, labels, window, length,
precision and what the base is stored in are those that the checkpoint was trained with (its erc_config.json), and so is
the filter that carries beliefs from turn to turn, if it was trained with decode=transitions (its transitions.json).
Probabilities are shares among these labels. What files are read: demo/FORMATS.md. With --output the file is there
when it is whole, and until then grows beside it; stopped, --resume True goes on from there to the same bytes.
"""

import argparse
import sys
from argparse import Namespace
from pathlib import Path

from basics.argument_parsing import LineParser, true_or_false, whole_number
from basics.errors import UserError
from basics.scripts import run_script
from dialogue_files.readers.encodings import check_encoding
from dialogue_files.reading import FORMATS, FileCounts, count_turns, find_format
from knobs.table import KNOBS
from own_dialogues.formats_page import render_formats
from own_dialogues.preview import print_preview
from own_dialogues.writing import OUTPUTS

# Name, default, what else argparse is told, meaning.
FLAGS = (
    ("input", None, {"type": Path, "required": True}, "file of dialogues"),
    ("checkpoint", None, {}, "folder that training saved (default: $ERC_CHECKPOINT, demo/adapter, the newest)"),
    ("output", None, {"type": Path}, "file to write (default: to the terminal)"),
    ("format", None, {"choices": tuple(OUTPUTS)}, "of the output (default: by its name, else table)"),
    ("input_format", None, {"choices": tuple(FORMATS)}, "of which form it is (default: by its name and beginning)"),
    ("encoding", None, {"type": check_encoding}, "what the input is in (default: UTF-8, or as its bytes tell)"),
    ("preview", False, {"type": true_or_false}, "print what would be judged, as JSON Lines, and load no model"),
    ("demonstrations", None, {"type": whole_number(0)}, "in each prompt (default: as in training)"),
    ("original_data", None, {"type": Path}, "folder of the pickles that they come from (default: original_data)"),
    ("encoder", None, {}, "sentence encoder that finds them (default: as in training)"),
    ("device", None, {}, "cpu, cuda or cuda:N (default: a GPU where there is one)"),
    (
        "precision",
        "auto",
        {"choices": KNOBS["precision"].kind.choices},
        "auto: as in training where the device has it (default: auto)",
    ),
    (
        "decode",
        None,
        {"choices": ("transitions", "score")},
        "transitions: filtered by what was felt before; score: each turn by itself (default: as in training)",
    ),
    ("resume", False, {"type": true_or_false}, "go on with an output that was stopped (default: False)"),
    ("causal", False, {"action": "store_true"}, "judge a turn without those after it: what always happens"),
)


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", action=_PrintFormats, nargs=0, help="print demo/FORMATS.md and exit")
    for name, default, options, meaning in FLAGS:
        parser.add_argument(f"--{name}", default=default, help=meaning.replace("%", "%%"), **options)
    arguments = parser.parse_args()
    if arguments.resume and arguments.output is None:
        raise UserError("--resume True: there is nothing to go on with without --output")
    if arguments.preview and (arguments.output or arguments.format not in (None, "jsonl")):
        raise UserError(
            "--preview True prints JSON Lines: leave --output and --format away, or redirect what it prints"
        )
    return arguments


class _PrintFormats(argparse.Action):
    """As --help: print and exit, whatever else is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(render_formats(), end="")
        parser.exit()


def choose_output_format(arguments: Namespace) -> str:
    """The format that is asked for, else the one that the output is named after, else the table."""
    suffix = arguments.output.suffix[1:].lower() if arguments.output else ""
    return arguments.format or (suffix if suffix in OUTPUTS else "table")


def warn_of_speakers(counts: FileCounts, known: int, kind: str) -> None:
    """Say so when a dialogue has more speakers than training can have shown; plain prompts show none."""
    if kind != "plain" and counts.speakers > known:
        print(
            f"warning: a dialogue has {counts.speakers} speakers, training knew {known} at most: those that come later "
            f"are Speaker_{known} and so on to the model, names that it has never seen",
            file=sys.stderr,
        )


def main() -> None:
    """Arguments -> the input, read once to be checked -> checkpoint -> emotions."""
    arguments = parse_arguments()
    encoding = arguments.encoding
    input_format = find_format(arguments.input, arguments.input_format, encoding)
    counts = count_turns(arguments.input, input_format, encoding)
    for line in counts.report.lines():
        print(line, file=sys.stderr)
    if arguments.preview:
        return print_preview(arguments.input, input_format, encoding, counts)

    # torch takes its time: what is wrong with the input has been said by now.
    from basics.files import shown_path
    from own_dialogues.checkpoint import ensure_base, find_checkpoint
    from own_dialogues.demonstrations import DemonstrationSource
    from own_dialogues.prediction import FileTask, check_output, find_position, fingerprint, predict_file
    from own_dialogues.recognizer import EmotionRecognizer, choose_place
    from training.erc_config import read_erc_config

    task = FileTask(arguments.input, input_format, arguments.output, choose_output_format(arguments), encoding)
    checkpoint = find_checkpoint(arguments.checkpoint)
    config = read_erc_config(checkpoint)
    warn_of_speakers(counts, config.speakers, config.kind)
    check_output(task)
    source = DemonstrationSource(arguments.demonstrations, arguments.original_data, arguments.encoder)
    place = choose_place(arguments.device, arguments.precision, config.precision)
    ensure_base(checkpoint)
    marks = fingerprint(task, checkpoint, place, source, arguments.decode) if task.output else {}
    start = find_position(task, marks, arguments.resume)
    recognizer = EmotionRecognizer.from_pretrained(
        checkpoint, arguments.device, arguments.precision, source, arguments.decode
    )
    end = predict_file(recognizer, task, counts, marks, start)
    told = f"{counts.turns} utterances, {counts.dialogues} dialogues, labels of {recognizer.config.dataset}"
    told += ", with transitions" if recognizer.transitions else ""
    cut = f"; {end.shortened} were too long for the prompt and cut at their end" if end.shortened else ""
    written = f" -> {task.output}" if task.output else ""
    print(f"{told}, by {shown_path(str(checkpoint))}{cut}{written}", file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
