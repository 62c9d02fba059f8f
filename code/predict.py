"""Say what every speaker of your own dialogues feels, turn by turn.

    python code/predict.py --input demo/dialogue.txt
    python code/predict.py --input chat.txt --preview True       # what would be judged; no model is loaded
    python code/predict.py --checkpoint checkpoint/SmolLM2-135M/lora/meld/window_12 --input scenes.csv \\
        --output emotions.jsonl
    some_program | python code/predict.py --follow True --format jsonl

A turn is judged by itself and the turns before it: no later one is ever seen. The model is asked as it was trained:
labels, wording, how many turns a prompt shows and the precision are read from erc_config.json beside its weights. One
that was trained with decode=transitions also has a filter, transitions.json, by which what was felt before counts.
A probability is a label's share among these labels. demo/FORMATS.md lists the forms of files that are read.
With --output the file appears when it is whole, and grows beside its place until then; if it was stopped, --resume True
goes on from there, to the same bytes. With --follow True turns are read from stdin, one a line, as `Name: utterance`,
below a line `Name:`, or as a JSON object of speaker and text, and each is answered at once, without computing anew
what came before it. A line that cannot be read is told on stderr and left out, and the exit code is then 1.
"""

import argparse
import sys
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from basics.argument_parsing import LineParser, true_or_false, whole_number
from basics.errors import raise_together
from basics.files import shown_path
from basics.locks import alone_at, lock_beside
from basics.scripts import run_script
from basics.stopping import advised
from dialogue_files.live import LIVE_FORMATS
from dialogue_files.readers.encodings import check_encoding
from dialogue_files.reading import FORMATS, FileCounts, count_turns, find_format, warn_of_speakers
from knobs.table import KNOBS
from own_dialogues.formats_page import render_formats
from own_dialogues.preview import print_preview
from own_dialogues.writing import OUTPUTS

if TYPE_CHECKING:
    from own_dialogues.recognizer import EmotionRecognizer

# Name, default, what else argparse is told, meaning.
FLAGS = (
    ("input", None, {"type": Path}, "file of dialogues"),
    ("follow", False, {"type": true_or_false}, "answer turns from stdin as they come (default: False)"),
    (
        "checkpoint",
        None,
        {},
        "name of a shipped one (meld, EmoryNLP, sample), or folder that training saved (default: $ERC_CHECKPOINT, else "
        "the first of meld and sample that ships)",
    ),
    ("output", None, {"type": Path}, "file to write (default: to the terminal)"),
    ("format", None, {"choices": tuple(OUTPUTS)}, "form of the output (default: by its name, else table)"),
    ("input_format", None, {"choices": tuple(FORMATS)}, "form of the input (default: by its name and beginning)"),
    ("encoding", None, {"type": check_encoding}, "encoding of the input (default: UTF-8, or as its bytes tell)"),
    ("preview", False, {"type": true_or_false}, "print what would be judged, as JSON Lines, and load no model"),
    (
        "demonstrations",
        None,
        {"type": whole_number(0)},
        "how many similar training utterances a prompt shows (default: as in training)",
    ),
    (
        "original_data",
        None,
        {"type": Path},
        "folder of the corpora that these come from (default: $ERC_ORIGINAL_DATA, else original_data/)",
    ),
    ("encoder", None, {}, "sentence encoder that finds these (default: as in training)"),
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
)


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formats", action=_PrintFormats, nargs=0, help="print demo/FORMATS.md and exit")
    for name, default, options, meaning in FLAGS:
        parser.add_argument(f"--{name}", default=default, help=meaning.replace("%", "%%"), **options)
    arguments = parser.parse_args()
    raise_together(find_contradictions(arguments))
    return arguments


def find_contradictions(arguments: Namespace) -> list[str]:
    """One line per flag that cannot stand beside the others."""
    follow, preview = arguments.follow, arguments.preview
    checks = (
        (follow or arguments.input, "--input is missing: the file of dialogues; or --follow True, which reads stdin"),
        (
            follow or arguments.input != Path("-") or arguments.input.exists(),
            "--input -: stdin is read by --follow True, a turn a line; what is of another form has to lie in a file",
        ),
        (not follow or not arguments.input, f"--input {arguments.input}: --follow True reads stdin; leave it away"),
        (not follow or not arguments.output, f"--output {arguments.output}: --follow True prints; leave it away"),
        (not follow or not preview, "--preview True: --follow True answers at once; leave one of them away"),
        (not follow or not arguments.encoding, "--encoding: --follow True reads UTF-8; leave it away"),
        (
            not follow or arguments.input_format in (None, *LIVE_FORMATS),
            f"--input_format {arguments.input_format}: --follow True reads {' or '.join(LIVE_FORMATS)}",
        ),
        (
            choose_output_format(arguments),
            f"--output {arguments.output}: its name says no form that is written, allowed are .jsonl, .csv and .txt, "
            "or --format",
        ),
        (
            not arguments.resume or arguments.output,
            "--resume True: there is nothing to go on with without --output",
        ),
        (
            not preview or not (arguments.output or arguments.format not in (None, "jsonl")),
            "--preview True prints JSON Lines: leave --output and --format away, or redirect what it prints",
        ),
    )
    return [problem for fine, problem in checks if not fine]


class _PrintFormats(argparse.Action):
    """As --help: print and exit, whatever else is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(render_formats(), end="")
        parser.exit()


def named_format(output: Path | None) -> str | None:
    """The format that the suffix of an output names: `table` without a suffix or an output; None: no format has it."""
    suffix = output.suffix[1:].lower() if output else ""
    return "table" if suffix in ("", "txt") else suffix if suffix in OUTPUTS else None


def choose_output_format(arguments: Namespace) -> str | None:
    """The format that is asked for, else the one that the output is named after, if any."""
    return arguments.format or named_format(arguments.output)


def main() -> None:
    """Arguments -> a file of dialogues, or turns as they come."""
    arguments = parse_arguments()
    if arguments.follow:
        answer_stdin(arguments)
    else:
        answer_file(arguments)


def answer_stdin(arguments: Namespace) -> None:
    """Checkpoint -> turns from stdin, each answered before the next is read."""
    from own_dialogues.checkpoint import ensure_base, find_checkpoint
    from own_dialogues.demonstrations import DemonstrationSource
    from own_dialogues.facts import find_facts
    from own_dialogues.following import EXIT_INCOMPLETE, INVITATION, follow_stream
    from own_dialogues.recognizer import EmotionRecognizer

    checkpoint = find_checkpoint(arguments.checkpoint)
    ensure_base(checkpoint)
    source = DemonstrationSource(arguments.demonstrations, arguments.original_data, arguments.encoder)
    recognizer = EmotionRecognizer.from_pretrained(
        checkpoint, arguments.device, arguments.precision, source, arguments.decode
    )
    print(find_facts(checkpoint, arguments.decode).line, file=sys.stderr)
    if sys.stdin.isatty():
        print(INVITATION, file=sys.stderr)
    done = follow_stream(recognizer, sys.stdin.buffer, arguments.input_format, choose_output_format(arguments))
    for line in done.counts.report.lines():
        print(line, file=sys.stderr)
    print(describe_end(recognizer, done.counts, done.shortened, checkpoint), file=sys.stderr)
    if not done.is_whole:
        sys.exit(EXIT_INCOMPLETE)


def answer_file(arguments: Namespace) -> None:
    """The input, read once to be checked -> checkpoint -> emotions."""
    encoding = arguments.encoding
    input_format = find_format(arguments.input, arguments.input_format, encoding)
    counts = count_turns(arguments.input, input_format, encoding)
    for line in counts.report.lines():
        print(line, file=sys.stderr)
    if arguments.preview:
        return print_preview(arguments.input, input_format, encoding, counts)

    # torch takes its time: what is wrong with the input has been said by now.
    from own_dialogues.checkpoint import ensure_base, find_checkpoint
    from own_dialogues.demonstrations import DemonstrationSource
    from own_dialogues.facts import find_facts
    from own_dialogues.prediction import FileTask, check_output, find_position, fingerprint, predict_file
    from own_dialogues.recognizer import EmotionRecognizer, choose_place
    from training.erc_config import read_erc_config

    task = FileTask(arguments.input, input_format, arguments.output, choose_output_format(arguments), encoding)
    checkpoint = find_checkpoint(arguments.checkpoint)
    config = read_erc_config(checkpoint)
    warn_of_speakers(counts.speakers, config.speakers, config.kind, config.speaker_offset)
    check_output(task)
    source = DemonstrationSource(arguments.demonstrations, arguments.original_data, arguments.encoder)
    place = choose_place(arguments.device, arguments.precision, config.precision)
    ensure_base(checkpoint)
    marks = fingerprint(task, checkpoint, place, source, arguments.decode) if task.output else {}
    alone = alone_at(lock_beside(task.output), f"--output {task.output}") if task.output else nullcontext()
    with alone, advised("the same command with --resume True goes on" if task.output else ""):
        start = find_position(task, marks, arguments.resume)
        recognizer = EmotionRecognizer.from_pretrained(
            checkpoint, arguments.device, arguments.precision, source, arguments.decode
        )
        print(find_facts(checkpoint, arguments.decode).line, file=sys.stderr)
        end = predict_file(recognizer, task, counts, marks, start)
    written = f" -> {task.output}" if task.output else ""
    print(describe_end(recognizer, counts, end.shortened, checkpoint) + written, file=sys.stderr)


def describe_end(recognizer: "EmotionRecognizer", counts: FileCounts, shortened: int, checkpoint: Path) -> str:
    """What was answered, in one line; shortened: turns that were cut."""
    told = f"{counts.told}, labels of {recognizer.config.dataset}"
    told += ", with transitions" if recognizer.transitions else ""
    cut = f"; {shortened} were too long for the prompt and cut at their end" if shortened else ""
    return f"{told}, by {shown_path(str(checkpoint))}{cut}"


if __name__ == "__main__":
    run_script(main)
