"""The parts of the page, where they stand, what calls what, and how they look: all that is Gradio's."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from basics.errors import UserError
from dialogue_files.reading import FORMATS
from emotion_page import render_error, render_status
from page_events import Page
from page_input import read_histories

HERE = Path(__file__).resolve().parent
STYLE = HERE / "page.css"
TITLE = "Emotions of a dialogue"
INTRODUCTION = f"""# {TITLE}
Write a line for each turn, `Name: utterance`, paste a chat or a transcript, or open a file. Each turn is judged by
itself and the turns before it, never by later ones. It can be wrong."""
# On a phone the answer stands far below what was asked.
SHOW_ANSWER = """() => {
  const status = document.querySelector("#status");
  if (status.getBoundingClientRect().top > 0.8 * innerHeight) status.scrollIntoView();
}"""
STOPPED = render_status("Stopped. What was found stays; to ask again goes on from there.")
# Said by the browser: what the server says goes with the stream of answers, which a stop closes. Answers that had come
# before are still being written: only once the count stands still it is the last that is said, unless more was asked.
SHOW_STOPPED = f"""async () => {{
  const shown = () => document.querySelector("#status").innerText.trim();
  let asked = false;
  const hear = event => {{
    asked ||= event.key ? event.key === "Enter" : event.target.closest("#find, #add, #histories") !== null;
  }};
  for (const kind of ["click", "keydown"]) document.addEventListener(kind, hear);
  for (let before; before !== shown();) {{
    before = shown();
    await new Promise(done => setTimeout(done, 400));
  }}
  for (const kind of ["click", "keydown"]) document.removeEventListener(kind, hear);
  const isOver = shown() && !document.querySelector("#status progress");
  return asked || isOver ? {{__type__: "update"}} : {json.dumps(STOPPED)};
}}"""
SECONDS_KEPT = 3600  # of files that were opened
MOST_AT_ONCE, MOST_WAITING = 8, 64  # visitors
SECONDS_BETWEEN_LOOKS = 0.05


def make_theme() -> Any:
    """Gradio's own, with darker letters where its contrast is too low, and fonts that are here."""
    import gradio as gr

    theme = gr.themes.Default(primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["monospace"])
    quiet = ("body_text_color_subdued", "block_label_text_color", "block_title_text_color", "block_info_text_color")
    darker = {name: "*neutral_600" for name in (*quiet, "input_placeholder_color")}
    lighter = {f"{name}_dark": "*neutral_300" for name in darker}
    filled = {f"button_primary_background_fill{end}": f"*primary_{700 + 100 * ('hover' in end)}" for end in _ENDS}
    return theme.set(**darker, **lighter, **filled)


_ENDS = ("", "_dark", "_hover", "_hover_dark")


def build(page: Page, warning: str = "") -> Any:
    """The page's parts and what they do; warning: what visitors should know of how they reached it."""
    import gradio as gr

    name = next(iter(page.folders))
    with gr.Blocks(title=TITLE, fill_width=True, delete_cache=(SECONDS_KEPT, SECONDS_KEPT)) as blocks:
        gr.Markdown(f"{INTRODUCTION} {warning}")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                parts = _question(gr, page, name)
            with gr.Column(scale=3, min_width=320):
                parts.about = gr.HTML(page.describe(name), elem_id="about")
                parts.status, parts.result = gr.HTML(elem_id="status"), gr.HTML(elem_id="result")
        parts.known, parts.given, parts.opened = gr.State(None), gr.State(None), gr.State(None)
        _connect(gr, page, parts)
    blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=MOST_AT_ONCE)
    # Gradio would look a thousand times a second whether somebody has asked: a part of a core, though nobody has.
    blocks._queue.sleep_when_free = blocks._queue.progress_update_sleep_when_free = SECONDS_BETWEEN_LOOKS
    return blocks


def _question(gr: Any, page: Page, name: str) -> SimpleNamespace:
    """Left, on a phone above: what is asked, and whom."""
    parts = SimpleNamespace()
    several = len(page.folders) > 1
    parts.checkpoint = gr.Dropdown(
        page.choices(), value=name, label="Checkpoint", elem_id="checkpoint", visible=several, filterable=False
    )
    sample = (HERE / "dialogue.txt").read_text(encoding="utf-8").split("\n\n")[0]
    parts.chooser = gr.Dropdown([], label="Dialogue of the file", elem_id="chooser", visible=False, filterable=False)
    parts.dialogue = gr.Textbox(sample, label="Dialogue", lines=8, max_lines=20, elem_id="dialogue")
    with gr.Row():
        parts.find = gr.Button("Find emotions", variant="primary", elem_id="find", scale=2, min_width=180)
        parts.stop = gr.Button("Stop", elem_id="stop", scale=1, min_width=80)
        parts.upload = gr.UploadButton("Open a file", elem_id="open", scale=1, min_width=130)
    with gr.Row():
        parts.who = gr.Textbox(label="Name", elem_id="who", scale=1, min_width=90)
        parts.what = gr.Textbox(label="Utterance (Enter adds the turn)", elem_id="what", scale=3, min_width=160)
        parts.add = gr.Button("Add turn", elem_id="add", scale=1, min_width=90)
    gr.Markdown("What was said before decides: the same last words after another history.")
    with gr.Row(elem_id="histories"):
        parts.histories = {text: gr.Button(title, size="sm", min_width=150) for title, text in read_histories().items()}
    with gr.Accordion("If a file is read wrongly", open=False):
        by_itself = [("by its name and beginning", ""), *((name, name) for name in FORMATS)]
        parts.form = gr.Dropdown(by_itself, value="", label="Read as (--input_format)", elem_id="form")
        parts.encoding = gr.Textbox(
            label="Encoding (--encoding), such as cp1252; Enter reads again", elem_id="encoding"
        )
    return parts


def _connect(gr: Any, page: Page, parts: SimpleNamespace) -> None:
    """What each part calls, with what, and where the answer goes."""
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    shown = [parts.status, parts.result, parts.known]
    asked = {"fn": _answering(gr, page, page.answer), "outputs": shown}
    asked["inputs"] = [parts.checkpoint, parts.dialogue, parts.given, parts.known]
    added = {"fn": _answering(gr, page, page.add, fields=2), "outputs": [parts.dialogue, parts.what, *shown]}
    added["inputs"] = [parts.checkpoint, parts.dialogue, parts.who, parts.what, parts.given, parts.known]
    # Else Gradio counts visitors for each of these apart, and does not hear who asks again before an answer has ended.
    answering = quiet | {"concurrency_id": "answers", "trigger_mode": "multiple"}
    running = [parts.find.click(**asked, **answering), parts.add.click(**added, **answering)]
    running += [parts.what.submit(**added, **answering)]
    for text, button in parts.histories.items():
        example = {"inputs": [parts.checkpoint, parts.known], "outputs": [parts.dialogue, *shown]}
        show = _answering(gr, page, partial(page.show, text), fields=1)
        running += [button.click(show, **example, **answering)]
    for button in (parts.find, *parts.histories.values()):
        button.click(None, js=SHOW_ANSWER, **quiet)
    parts.stop.click(None, cancels=running, **quiet)
    parts.stop.click(None, js=SHOW_STOPPED, outputs=parts.status, **quiet)
    parts.checkpoint.input(page.describe, parts.checkpoint, parts.about, **quiet)

    _connect_files(gr, page, parts, quiet)


def _answering(gr: Any, page: Page, ask: Callable[..., Iterator[tuple]], fields: int = 0) -> Callable:
    """An event that shows the steps of an answer until its visitor asks for another one; an error changes nothing else.

    fields: how many of the outputs, the first, are fields to type in. Only the first step writes there: who types on
    loses nothing.
    """

    def answer(request: gr.Request, *given: Any) -> Iterator[tuple]:
        kept = [gr.skip()] * fields
        try:
            steps = page.of_newest(request.session_hash, ask(*given))
            yield next(steps)
            for step in steps:
                yield *kept, *step[fields:]
        except UserError as error:
            yield *kept, render_error(str(error)), gr.skip(), gr.skip()

    return answer


def _connect_files(gr: Any, page: Page, parts: SimpleNamespace, quiet: dict[str, str]) -> None:
    """What opens a file, or takes another dialogue of it; what cannot be read leaves all as it is."""
    preview = [parts.dialogue, parts.given, parts.status, parts.result]
    kept = gr.skip

    def opened(*given: Any) -> tuple:
        try:
            file, choices, *rest = page.open(*given)
        except UserError as error:
            return kept(), kept(), kept(), kept(), render_error(str(error)), kept()
        return file, gr.Dropdown(choices, value=0, visible=len(choices) > 1), *rest

    def chosen(*given: Any) -> tuple:
        try:
            return page.choose(*given)
        except UserError as error:
            return kept(), kept(), render_error(str(error)), kept()

    again = {"fn": partial(opened, None), "inputs": [parts.form, parts.encoding, parts.opened]}
    outputs = [parts.opened, parts.chooser, *preview]
    parts.upload.upload(opened, [parts.upload, *again["inputs"]], outputs, **quiet)
    parts.form.input(**again, outputs=outputs, **quiet)
    parts.encoding.submit(**again, outputs=outputs, **quiet)
    parts.chooser.input(chosen, [parts.opened, parts.chooser], preview, **quiet)
