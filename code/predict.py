"""Say what every speaker of your own dialogues feels, turn by turn.

    python code/predict.py --input demo/dialogue.txt
    python code/predict.py --input chat.txt --preview True       # what would be judged; no model is loaded
    python code/predict.py --checkpoint checkpoint/SmolLM2-135M/lora/meld/window_12 --input scenes.csv \\
        --output emotions.jsonl
    python code/predict.py --input calls/*.txt --output 'emotions/{name}.jsonl'  # many files by one loaded model
    some_program | python code/predict.py --follow True --format jsonl

A turn is judged by itself and the turns before it: no later one is ever seen. The model is asked as it was trained:
labels, wording, how many turns a prompt shows and the precision are read from erc_config.json beside its weights. One
that was trained with decode=transitions also has a filter, transitions.json, by which what was felt before counts.
A probability is a label's share among these labels. demo/FORMATS.md lists the forms of files that are read.
With --output the file appears when it is whole, and grows beside its place until then; if it was stopped, --resume True
goes on from there, to the same bytes. Several inputs are all read and checked before the model is loaded, once. Each
has an output of its own: {name} in --output stands for the input's name without its suffix. --resume True leaves those
that a stopped run has finished. Without --output they are printed one after the other.
With --follow True turns are read from stdin, one a line, as `Name: utterance`, below a line `Name:`, or as a JSON
object of speaker and text, and each is answered at once, without computing anew what came before it. A line that cannot
be read is told on stderr and left out, and the exit code is then 1.
"""

import argparse
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from basics.argument_parsing import LineParser, true_or_false, whole_number
from basics.errors import UserError, as_line, raise_together
from basics.files import shown_path
from basics.scripts import run_script
from basics.stopping import advised
from basics.words import counted
from dialogue_files.live import LIVE_FORMATS
from dialogue_files.readers.encodings import check_encoding
from dialogue_files.reading import FORMATS, FileCounts, count_turns, find_format, warn_of_speakers
from knobs.table import KNOBS
from own_dialogues.formats_page import render_formats
from own_dialogues.preview import print_preview
from own_dialogues.tasks import NAME, FileTask, check_outputs, find_naming_problems, name_output
from own_dialogues.writing import OUTPUTS

if TYPE_CHECKING:
    from own_dialogues.recognizer import EmotionRecognizer

# Name, default, what else argparse is told, meaning.
FLAGS = (
    ("input", None, {"type": Path, "nargs": "+", "action": "extend"}, "file of dialogues, or several"),
    ("follow", False, {"type": true_or_false}, "answer turns from stdin as they come (default: False)"),
    (
        "checkpoint",
        None,
        {},
        "name of a shipped one (meld, EmoryNLP, sample), or folder that training saved (default: $ERC_CHECKPOINT, else "
        "the first of meld and sample that ships)",
    ),
    ("output", None, {"type": Path}, "file to write, of several inputs with {name} in it (default: to the terminal)"),
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
    inputs, output_format = arguments.input or [], choose_output_format(arguments)
    checks = (
        (follow or inputs, "--input is missing: the file of dialogues; or --follow True, which reads stdin"),
        (
            follow or all(one != Path("-") or one.exists() for one in inputs),
            "--input -: stdin is read by --follow True, a turn a line; what is of another form has to lie in a file",
        ),
        (not follow or not inputs, f"--input {' '.join(map(str, inputs))}: --follow True reads stdin; leave it away"),
        (not follow or not arguments.output, f"--output {arguments.output}: --follow True prints; leave it away"),
        (not follow or not preview, "--preview True: --follow True answers at once; leave one of them away"),
        (not follow or not arguments.encoding, "--encoding: --follow True reads UTF-8; leave it away"),
        (
            not follow or arguments.input_format in (None, *LIVE_FORMATS),
            f"--input_format {arguments.input_format}: --follow True reads {' or '.join(LIVE_FORMATS)}",
        ),
        (
            output_format,
            f"--output {arguments.output}: its name says no form that is written, allowed are .jsonl, .csv and .txt, "
            "or --format",
        ),
        (
            len(inputs) < 2 or arguments.output or preview or output_format == "table",
            f"--format {output_format}: rows of {len(inputs)} inputs would not tell their file; allowed are table, or "
            f"a file for each, as by --output 'emotions/{NAME}.{output_format}'",
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
    found = [problem for fine, problem in checks if not fine]
    return [*found, *find_naming_problems(inputs, arguments.output)]


@dataclass(frozen=True)
class InputFile:
    """A file as it was checked. prefix: of what is said of it, so that one knows of which; empty where it is alone."""

    path: Path
    form: str
    counts: FileCounts
    prefix: str


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
    """Arguments -> files of dialogues, or turns as they come."""
    arguments = parse_arguments()
    if arguments.follow:
        answer_stdin(arguments)
    else:
        answer_files(arguments)


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
    print(describe_end(recognizer, done.counts.told, done.shortened, checkpoint), file=sys.stderr)
    if not done.is_whole:
        sys.exit(EXIT_INCOMPLETE)


def read_inputs(arguments: Namespace) -> list[InputFile]:
    """Every input, read once to be checked; what there is to say of them is told.

    Raises:
        UserError: some cannot be read; all of these are named.
    """
    encoding, read, problems = arguments.encoding, [], []
    for path in arguments.input:
        prefix = f"{as_line(str(path))}: " if len(arguments.input) > 1 else ""
        try:
            form = find_format(path, arguments.input_format, encoding)
            read.append(InputFile(path, form, count_turns(path, form, encoding), prefix))
        except UserError as error:
            problems.append(str(error))
        except OSError as error:  # of a name that no file can have
            problems.append(f"{path}: {error.strerror}")
    raise_together(problems)
    for one in read:
        for line in one.counts.report.lines():
            print(f"{one.prefix}{line}", file=sys.stderr)
    return read


def answer_files(arguments: Namespace) -> None:
    """The inputs, all read once to be checked -> checkpoint -> emotions."""
    inputs, output, encoding = read_inputs(arguments), arguments.output, arguments.encoding
    if arguments.preview:
        for one in inputs:
            print_preview(one.path, one.form, encoding, one.counts, one.prefix)
        return

    # torch takes its time: what is wrong with the input has been said by now.
    from own_dialogues.checkpoint import ensure_base, find_checkpoint
    from own_dialogues.demonstrations import DemonstrationSource
    from own_dialogues.facts import find_facts
    from own_dialogues.prediction import FileRun, fingerprint_model
    from own_dialogues.recognizer import EmotionRecognizer, choose_place
    from training.erc_config import read_erc_config

    tasks = [
        FileTask(one.path, one.form, name_output(output, one.path), choose_output_format(arguments), encoding)
        for one in inputs
    ]
    checkpoint = find_checkpoint(arguments.checkpoint)
    config = read_erc_config(checkpoint)
    for one in inputs:
        warn_of_speakers(one.counts.speakers, config.speakers, config.kind, config.speaker_offset, one.prefix)
    check_outputs(tasks)
    source = DemonstrationSource(arguments.demonstrations, arguments.original_data, arguments.encoder)
    place = choose_place(arguments.device, arguments.precision, config.precision)
    ensure_base(checkpoint)
    marks = fingerprint_model(checkpoint, place, source, arguments.decode) if output else None
    files = list(zip(tasks, (one.counts for one in inputs), strict=True))
    run = FileRun(files, marks, arguments.resume)
    with run.alone(), advised("the same command with --resume True goes on" if output else ""):
        answered = run.find_starts()
        recognizer = EmotionRecognizer.from_pretrained(
            checkpoint, arguments.device, arguments.precision, source, arguments.decode
        )
        print(find_facts(checkpoint, arguments.decode).line, file=sys.stderr)
        shortened = run.answer(recognizer, answered)
    written = f" -> {output if len(tasks) > 1 else tasks[0].output}" if output else ""
    print(describe_end(recognizer, tell_size(inputs), shortened, checkpoint) + written, file=sys.stderr)


def tell_size(inputs: Sequence[InputFile]) -> str:
    """'3 files, 120 utterances, 9 dialogues'; of one file without the first."""
    counts = [one.counts for one in inputs]
    together = FileCounts(sum(one.dialogues for one in counts), sum(one.turns for one in counts), 0)
    return f"{len(counts)} files, {together.told}" if len(counts) > 1 else together.told


def describe_end(recognizer: "EmotionRecognizer", size: str, shortened: int, checkpoint: Path) -> str:
    """What was answered, in one line; shortened: turns that were cut."""
    told = f"{size}, labels of {recognizer.config.dataset}"
    told += ", with transitions" if recognizer.transitions else ""
    cut = f"; too long for the prompt and cut at their end: {counted(shortened, 'utterance')}" if shortened else ""
    return f"{told}, by {shown_path(str(checkpoint))}{cut}"


if __name__ == "__main__":
    run_script(main)
