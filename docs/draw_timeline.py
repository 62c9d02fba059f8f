"""The picture of a dialogue's emotions, turn by turn, as a committed run answered."""

from examples_shown import LABELS, answers_to, find_dialogue, shares
from svg import Picture, shorten

DIALOGUE = "test_result"
WIDTH, LINE, TOP = 900, 34, 92
WHERE, BAR, WORDS = 20, 150, 330
# Told apart by the colour-blind too (Okabe and Ito), and seen on white and on black; a label has its own.
COLOURS = dict(zip(LABELS, ("#9a9a9a", "#E69F00", "#CC79A7", "#2b84c9", "#12a279", "#9c6555", "#D55E00"), strict=True))


def draw_timeline() -> str:
    """SVG: who says what, the share of each emotion, the answer, and the gold label where that is another."""
    dialogue = find_dialogue(DIALOGUE)[1]
    run, said = answers_to(dialogue)
    right = sum(one.label == answer.label for one, answer in zip(dialogue.utterances, said, strict=True))
    picture = Picture(WIDTH, TOP + LINE * len(said) + 34, "The emotions of a dialogue, turn by turn")
    picture.text(20, 34, "A dialogue's emotions, turn by turn", "title")
    x = WHERE
    for label in LABELS:
        picture.fill(x, 50, 12, 12, COLOURS[label])
        picture.text(x + 17, 61, label, "small")
        x += 17 + 8 * len(label) + 22
    picture.path((WHERE + 92, TOP + 4), (WHERE + 92, TOP + LINE * len(said) - 16))
    for turn, (one, answer) in enumerate(zip(dialogue.utterances, said, strict=True)):
        middle = TOP + LINE * turn + 6
        picture.text(WHERE, middle + 4, f"Speaker_{one.speaker}", "small soft")
        _draw_shares(picture, middle, shares(answer))
        label = answer.label or "none"
        picture.dot(WHERE + 92, middle, 8, COLOURS.get(label, "#9a9a9a"))
        picture.text(WORDS, middle + 4, label, "strong")
        picture.text(WORDS + 76, middle + 4, shorten(one.text, 54))
        if label != one.label:
            picture.text(WIDTH - 20, middle + 4, f"gold: {one.label}", "small wrong end")
    where = f"Sample corpus, test, {DIALOGUE}: {right} of {len(said)} right. Bars: probabilities of the labels. "
    run_shown = f"Run: {run.condition}, seed {run.seed}, SmolLM2-135M."
    picture.text(20, TOP + LINE * len(said) + 14, where + run_shown, "small soft")
    return picture.render()


def _draw_shares(picture: Picture, middle: float, found: dict[str, float]) -> None:
    x = float(BAR)
    for label, share in found.items():
        if share >= 0.005:
            picture.fill(round(x, 1), middle - 6, round(160 * share, 1), 12, COLOURS[label])
        x += 160 * share
