"""The picture of the method: a dialogue, its prompt, the model, the probabilities that it answers with."""

from textwrap import wrap

from data_utils.dialogues import Dialogue
from examples_shown import LABELS, answers_to, find_dialogue, shares
from svg import Picture, shorten

DIALOGUE, TURN = "test_result", 2  # a turn of test with two before it
WIDTH, HEIGHT = 900, 470
LEFT, MIDDLE, RIGHT = 20, 280, 660
TITLE = "InstructERC: a dialogue becomes a prompt, and a language model answers with an emotion"
# Look, title, what it does in two lines, name of its knob.
MODULES = (
    (
        "other",
        "Demonstration",
        "an utterance of train that is like the",
        "target is shown with its label",
        "domain_base",
    ),
    (
        "history",
        "Emotion prediction",
        "from the history alone: what will be",
        "felt next? in training only",
        "emotion_prediction",
    ),
    (
        "shared",
        "Speaker identification",
        "who says this utterance? a stage of",
        "training before the main one",
        "speaker_task",
    ),
)
LOSS = "The loss is on the answer alone. Valid chooses the epoch; test is scored once, by the log p of every label."
SOURCE = "Dialogue and probabilities: the sample corpus, test, and the answers of its run in experiments/predictions."


def draw_method() -> str:
    """SVG, from a turn of the sample corpus and what the committed run answered to it."""
    dialogue = find_dialogue(DIALOGUE)[1]
    picture = Picture(WIDTH, HEIGHT, TITLE)
    _draw_dialogue(picture, dialogue)
    _draw_prompt(picture, dialogue)
    _draw_answer(picture, dialogue)
    _draw_modules(picture)
    return picture.render()


def _draw_dialogue(picture: Picture, dialogue: Dialogue) -> None:
    picture.text(LEFT, 34, "A dialogue", "title")
    for number, one in enumerate(dialogue.utterances[: TURN + 1]):
        top, is_target = 50 + 58 * number, number == TURN
        picture.box(LEFT, top, 220, 66 if is_target else 48, "question" if is_target else "history")
        picture.text(LEFT + 10, top + 18, f"Speaker_{one.speaker}", "small soft")
        for place, words in enumerate(wrap(one.text, 34) if is_target else [shorten(one.text, 31)]):
            picture.text(LEFT + 10, top + 36 + 17 * place, words)
    picture.text(LEFT, 254, "what does Speaker_0 feel in the last turn?", "small soft")
    picture.path((LEFT + 224, 150), (MIDDLE - 6, 150), arrow=True)


def _draw_prompt(picture: Picture, dialogue: Dialogue) -> None:
    picture.text(MIDDLE, 34, "becomes a prompt", "title")
    picture.box(MIDDLE, 50, 340, 208, "panel")
    target = dialogue.utterances[TURN]
    parts = (
        ("shared", "the role", "Now you are expert of sentiment ..."),
        ("history", "window: up to 12 turns before", f'Speaker_0:"{shorten(dialogue.utterances[0].text, 22)}" ...'),
        ("question", "the target utterance", f'< Speaker_{target.speaker}:"{shorten(target.text, 26)}">'),
        ("answer", "the closed list of labels", "from <neutral, surprise, fear, ...>:"),
        ("other", "a demonstration, if asked for", "<an utterance of train>: its label"),
    )
    for number, (kind, meaning, words) in enumerate(parts):
        top = 60 + 39 * number
        picture.box(MIDDLE + 10, top, 320, 34, kind)
        picture.text(MIDDLE + 18, top + 14, meaning, "small soft")
        picture.text(MIDDLE + 18, top + 28, words, "mono")
    picture.path((MIDDLE + 344, 150), (RIGHT - 6, 150), arrow=True)


def _draw_answer(picture: Picture, dialogue: Dialogue) -> None:
    found = shares(answers_to(dialogue)[1][TURN])
    best = max(found, key=found.__getitem__)
    picture.text(RIGHT, 34, "and gets an emotion", "title")
    picture.box(RIGHT, 50, 220, 48, "panel")
    picture.text(RIGHT + 110, 70, "language model", "middle strong")
    picture.text(RIGHT + 110, 88, "frozen, with LoRA adapters", "small soft middle")
    picture.path((RIGHT + 110, 100), (RIGHT + 110, 118), arrow=True)
    for number, label in enumerate(LABELS):
        middle = 136 + 18 * number
        picture.text(RIGHT + 66, middle, label, "small end strong" if label == best else "small end")
        picture.box(RIGHT + 74, middle - 9, max(1.5, 104 * found[label]), 10, "bar", round=2)
        picture.text(RIGHT + 220, middle, f"{100 * found[label]:.0f}%", "small soft end")


def _draw_modules(picture: Picture) -> None:
    """What can be switched on beside the main task."""
    picture.text(LEFT, 292, "Three modules that can be switched on", "title")
    for number, (kind, *lines) in enumerate(MODULES):
        x = LEFT + 290 * number
        picture.box(x, 308, 280, 92, kind)
        for height, words, style in zip((330, 352, 371, 390), lines, ("strong", "", "", "small soft"), strict=True):
            picture.text(x + 12, height, words, style)
    picture.text(LEFT, 428, LOSS)
    picture.text(LEFT, 450, SOURCE, "small soft")
