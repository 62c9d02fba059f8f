"""The picture of a prefix tree: all rows of a dialogue's first turns, each beginning that they share drawn once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from data_utils.examples import RowSettings, build_examples
from data_utils.row_files import PREDICTION, Example
from engine.prefix_tree import PrefixTree
from examples_shown import SAMPLE, find_dialogue
from svg import Picture

DIALOGUE, TURNS = "cat_bowl", 4
WIDTH, TOP, LINE, HALF, INDENT = 900, 74, 30, 11, 34
LETTER = 7.25  # the width of one, nearly
FOR_ENDS = 250  # pixels on the right, for targets and counts
MEANING = "A box stands once, however many prompts begin with it; what hangs under it goes on from it."
COLOURS = "Orange ends in the question what a turn feels, violet in the question what the next will."
SOURCE = f"Sample corpus, {DIALOGUE}, the first {TURNS} turns with the prediction task. "
SOURCE += "Pieces here are words and marks; tokenizers cut finer."
# A word with the blank before it, or a mark.
PIECE = re.compile(r"\s*(?:\w+|[^\w\s])")


@dataclass(frozen=True)
class Run:
    """Nodes of the tree that follow each other without a branch. depth: branches above it; words: of the text."""

    depth: int
    words: str
    pieces: int
    leads_to: tuple[str, ...]  # task and target of the rows that end here


def draw_tree() -> str:
    """SVG, from the rows that a run with the prediction task trains on."""
    rows = rows_of_turns(TURNS)
    runs, tree = list_runs(rows)
    picture = Picture(WIDTH, TOP + LINE * len(runs) + 78, f"The prefix tree of {len(rows)} prompts of one dialogue")
    picture.text(20, 34, f"{len(rows)} prompts of one dialogue, as one tree", "title")
    times = tree.row_tokens / len(tree)
    saved = f"{tree.row_tokens:,} pieces one by one, {len(tree):,} in the tree: {times:.1f} times fewer to compute"
    picture.text(20, 56, saved)
    parents: list[float] = []
    for number, run in enumerate(runs):
        parents[run.depth :] = [TOP + LINE * number + HALF]
        _draw_run(picture, run, parents)
    for number, words in enumerate((MEANING, COLOURS, SOURCE)):
        picture.text(20, TOP + LINE * len(runs) + 20 * (number + 1), words, "small soft" if words == SOURCE else "")
    return picture.render()


def rows_of_turns(turns: int) -> list[Example]:
    """The training rows of the first turns of the dialogue: the main task and the prediction task."""
    split, dialogue = find_dialogue(DIALOGUE)
    part = replace(dialogue, utterances=dialogue.utterances[:turns])
    dialogues = {"train": (), "valid": (), "test": ()} | {split: (part,)}
    return build_examples(RowSettings(SAMPLE, "predict"), dialogues)["train"]


def list_runs(rows: Sequence[Example]) -> tuple[list[Run], PrefixTree]:
    """The unbranched runs of the rows' tree, depth first, and the tree."""
    known: dict[str, int] = {}
    pieces = [PIECE.findall(row.input) for row in rows]
    ids = [[known.setdefault(piece, len(known)) for piece in of] for of in pieces]
    tree = PrefixTree.from_rows(ids, [[[known.setdefault(row.target, len(known))]] for row in rows])
    ends: dict[int, list[str]] = {}
    for node, row in zip(tree.pair_nodes.tolist(), rows, strict=True):
        ends.setdefault(node, []).append(f"{'next: ' * (row.task == PREDICTION)}{row.target}")
    words = list(known)
    runs = []
    for start, stop, depth in _unbranched(tree, set(ends)):
        text = "".join(words[token] for token in tree.tokens[start:stop])
        runs.append(Run(depth, text, stop - start, tuple(ends.get(stop - 1, ()))))
    return runs, tree


def _unbranched(tree: PrefixTree, ends: set[int]) -> Iterator[tuple[int, int, int]]:
    """(first node, node after the last, branches above) of every run; a run ends where a row does or paths part."""
    starts = [0]
    starts += [
        node
        for node in range(1, len(tree))
        if tree.positions[node] != tree.positions[node - 1] + 1
        or node - 1 in ends
        or tree.end[node] != tree.end[node - 1]
    ]
    above: list[int] = []
    for start, stop in pairwise([*starts, len(tree)]):
        while above and above[-1] <= start:
            above.pop()
        yield start, stop, len(above)
        above.append(int(tree.end[start]))


def _draw_run(picture: Picture, run: Run, parents: Sequence[float]) -> None:
    middle = parents[-1]
    x = 20 + INDENT * run.depth
    if run.depth:
        picture.path((x - INDENT + 12, parents[-2] + 11), (x - INDENT + 12, middle), (x, middle))
    words = re.sub(r"\s+", " ", run.words).strip()
    room = int((WIDTH - FOR_ENDS - x) / LETTER)
    half = room // 2 - 2
    shown = words if len(words) <= room else f"{words[:half].rstrip()} \N{HORIZONTAL ELLIPSIS} {words[-half:].lstrip()}"
    picture.box(x, middle - HALF, 14 + LETTER * len(shown), 2 * HALF, _kind(run))
    picture.text(x + 7, middle + 4, shown, "mono")
    picture.text(WIDTH - 20, middle + 4, f"{run.pieces} pieces", "small soft end")
    if run.leads_to:
        picture.text(WIDTH - 90, middle + 4, f"\N{RIGHTWARDS ARROW} {', '.join(run.leads_to)}", "small strong end")


def _kind(run: Run) -> str:
    if run.leads_to:
        return "other" if all(end.startswith("next") for end in run.leads_to) else "question"
    return "history" if run.depth else "shared"
