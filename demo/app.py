"""A page to play with: paste or type a dialogue and see what each speaker feels, turn by turn.

    python demo/app.py          # then open the address that it prints

Only this machine can reach it unless --host says otherwise, and it sends nothing anywhere.
"""

import argparse
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script  # noqa: E402

# isort: split
import emotion_page as page  # noqa: E402
from basics.argument_parsing import LineParser, whole_number  # noqa: E402
from basics.errors import UserError  # noqa: E402
from basics.files import shown_path  # noqa: E402
from dialogue_files.report import Report  # noqa: E402
from own_dialogues.checkpoint import ensure_base, find_checkpoint, list_checkpoints  # noqa: E402
from own_dialogues.recognizer import EmotionRecognizer  # noqa: E402
from own_dialogues.writing import TurnEmotion  # noqa: E402

TITLE = "Emotions of a dialogue"
MOST_LOADED = 2
INTRODUCTION = f"""# {TITLE}
Write a line for each turn, `Name: utterance`, or paste a chat or a transcript. Each turn is judged by itself and the
turns before it, never by later ones. The labels, and the taste, are those of the corpus that the checkpoint was trained
on; it can be wrong."""

Known = tuple[str, list[TurnEmotion]]  # checkpoint, its answer to the dialogue as it was
Shown = tuple[str, str, Known]  # status and result as HTML, what is known now


class Page:
    """What the events of the page call; one answer at a time, two checkpoints in memory at most."""

    def __init__(self, checkpoints: list[Path], decode: str | None = None) -> None:
        self.decode = decode
        self.folders = {shown_path(str(folder)): folder for folder in checkpoints}
        self.lock = threading.Lock()
        self.loaded: dict[str, EmotionRecognizer] = {}  # the one asked last stands last

    def load(self, name: str) -> EmotionRecognizer:
        """The checkpoint of a name; the one not asked for longest goes before another is loaded."""
        found = self.loaded.pop(name, None)
        if found is None:
            ensure_base(self.folders[name])
            while len(self.loaded) >= MOST_LOADED:
                del self.loaded[next(iter(self.loaded))]
            found = EmotionRecognizer.from_pretrained(self.folders[name], decode=self.decode)
        self.loaded[name] = found
        return found

    def answer(self, name: str, text: str, known: Known | None) -> Iterator[Shown]:
        """Ever more of the answer; a problem as one sentence."""
        known = known or ("", [])
        try:
            report = Report()
            page.read_dialogue(text or "", report)
            if name not in self.folders:
                raise UserError(f"There is no checkpoint {name!r} here: pick one of the list.")
            told = page.describe(report)
            yield page.render_status(f"{told}. The model is being asked ..."), "", known
            with self.lock:
                recognizer = self.load(name)
                yield from self._answer(recognizer, name, text, known, told)
        except UserError as error:
            yield page.render_error(str(error)), "", known
        except (RuntimeError, MemoryError) as error:
            traceback.print_exc()  # for whoever runs the page; who looks at it gets a sentence
            yield page.render_error(page.explain_failure(error)), "", known

    def _answer(self, recognizer: EmotionRecognizer, name: str, text: str, known: Known, told: str) -> Iterator[Shown]:
        labels, rows = recognizer.config.labels, []
        before = known[1] if known[0] == name else []
        for rows in page.answer(recognizer, text, before):
            yield page.render_status(f"{len(rows)} turns ..."), page.render_rows(rows, labels), known
        prompts = recognizer.seen_prompts([(row.turn.speaker, row.turn.text) for row in rows])
        filtered = ", with transitions" if recognizer.transitions else ""
        done = page.render_status(f"{len(rows)} turns, labels of {recognizer.config.dataset}{filtered}; {told}.")
        yield done, page.render_rows(rows, labels, prompts), (name, rows)

    def add(self, name: str, text: str, who: str, what: str, known: Known | None) -> Iterator[tuple]:
        """(dialogue with one more turn, what stays in the field of its utterance, then as `answer`)."""
        try:
            longer = page.add_turn(text or "", who or "", what or "")
        except UserError as error:
            yield text, what, page.render_error(str(error)), "", known or ("", [])
            return
        for shown in self.answer(name, longer, known):
            yield longer, "", *shown


def build(checkpoints: list[Path], decode: str | None = None):
    """The page's parts and what they do; decode: see `EmotionRecognizer.from_pretrained`."""
    import gradio as gr

    own = Page(checkpoints, decode)
    names = list(own.folders)
    with gr.Blocks(title=TITLE) as blocks:
        gr.Markdown(INTRODUCTION)
        checkpoint = gr.Dropdown(names, value=names[0], label="Checkpoint", elem_id="checkpoint")
        sample = (HERE / "dialogue.txt").read_text(encoding="utf-8").split("\n\n")[0]
        dialogue = gr.Textbox(sample, label="Dialogue", lines=8, max_lines=20, elem_id="dialogue")
        find = gr.Button("Find emotions", variant="primary", elem_id="find")
        with gr.Row():
            who = gr.Textbox(label="Name", elem_id="who", scale=1)
            what = gr.Textbox(label="Utterance (Enter adds the turn)", elem_id="what", scale=3)
            add = gr.Button("Add turn", elem_id="add", scale=1)
        status = gr.HTML(elem_id="status")
        result = gr.HTML(elem_id="result")
        known = gr.State(None)

        asked = {"fn": own.answer, "inputs": [checkpoint, dialogue, known], "outputs": [status, result, known]}
        added = {
            "fn": own.add,
            "inputs": [checkpoint, dialogue, who, what, known],
            "outputs": [dialogue, what, status, result, known],
        }
        find.click(**asked)
        add.click(**added)
        what.submit(**added)
    return blocks


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="folder that training saved (default: those that predict.py would find)")
    parser.add_argument(
        "--decode",
        choices=("transitions", "score"),
        help="transitions: filtered by what was felt before; score: each turn by itself (default: as in training)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=whole_number(1, 65535), default=7860, help="port (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Arguments -> checkpoints -> the page, until Ctrl-C."""
    arguments = parse_arguments()
    first = find_checkpoint(arguments.checkpoint)
    others = [folder for folder in list_checkpoints() if folder != first]
    import gradio as gr

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])
    try:
        build([first, *others], arguments.decode).launch(
            server_name=arguments.host, server_port=arguments.port, theme=theme, css=page.STYLE, share=False
        )
    except OSError as error:
        raise UserError(f"--host {arguments.host} --port {arguments.port}: {error}; choose others") from None


if __name__ == "__main__":
    run_script(main)
