"""The report as one HTML file that opens from disk: tables, figures, and every scored dialogue with the answers.

The page holds utterances of the datasets: it must only be given to people who have these.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from basics.files import write_atomically
from data_utils.dialogues import Dialogue, Utterance, clean_text, row_id
from scoring.metrics import Prediction

TEMPLATE = Path(__file__).with_name("report_page.html")
_IMAGE = re.compile(r'src="(figures/[^"]+)"')


def write_page(path: Path, report: str, folder: Path, browsed: Sequence[Mapping[str, Any]]) -> None:
    """Writes the page. report: Markdown, with figures in `folder`; browsed: results of `browse_runs`.

    `[TOC]` in it becomes links to its headings of the second level.
    """
    import markdown

    body = markdown.markdown(report, extensions=["tables", "toc"], extension_configs={"toc": {"toc_depth": "2"}})
    body = _IMAGE.sub(lambda found: f'src="{_as_data(folder / found.group(1))}"', body)
    # "</" inside the data would end its element.
    data = json.dumps(browsed, ensure_ascii=False).replace("</", "<\\/")
    page = TEMPLATE.read_text(encoding="utf-8")
    write_atomically(path, page.replace("{{ report }}", body).replace("{{ dialogues }}", data))


def _as_data(image: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode("ascii")


def browse_runs(
    dataset: str, dialogues: Sequence[Dialogue], runs: Mapping[str, Sequence[Prediction]]
) -> dict[str, Any]:
    """The dialogues of a split with the answers of each run, for JSON. runs: name -> predictions on that dataset."""
    said = {name: {row.id: row for row in rows} for name, rows in runs.items()}
    return {
        "dataset": dataset,
        "runs": list(runs),
        "dialogues": [
            {
                "name": dialogue.dialogue_id,
                "turns": [
                    {
                        "speaker": f"Speaker_{utterance.speaker}",
                        "text": clean_text(utterance.text),  # a person reads it
                        **_answers_to(said, row_id(dataset, dialogue.dialogue_id, turn), utterance),
                    }
                    for turn, utterance in enumerate(dialogue.utterances)
                ],
            }
            for dialogue in dialogues
        ],
    }


def _answers_to(said: Mapping[str, Mapping[str, Prediction]], name: str, utterance: Utterance) -> dict[str, Any]:
    """The answer of each run to a turn, and its gold label, in the labels of the runs, which may be unified.

    Empty where the turn has no label, as no run was asked.
    """
    asked = [of[name] for of in said.values()] if utterance.label is not None else []
    return {"label": asked[0].target if asked else "", "said": [one.label for one in asked]}
