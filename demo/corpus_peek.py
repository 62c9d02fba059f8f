"""What is in a corpus, counted: for original_data/peek_of_dataset.ipynb, and for whoever asks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean, median

from data_utils.dialogues import Dialogue

Splits = Mapping[str, Sequence[Dialogue]]


def count_sizes(splits: Splits) -> dict[str, dict[str, float]]:
    """Split -> dialogues, utterances, turns and speakers of a dialogue, words of an utterance (mean, median, most)."""
    return {name: _sizes(dialogues) for name, dialogues in splits.items()}


def _sizes(dialogues: Sequence[Dialogue]) -> dict[str, float]:
    turns = [len(dialogue.utterances) for dialogue in dialogues]
    speakers = [len({one.speaker for one in dialogue.utterances}) for dialogue in dialogues]
    words = [len(one.text.split()) for dialogue in dialogues for one in dialogue.utterances]
    sizes: dict[str, float] = {"dialogues": len(dialogues), "utterances": sum(turns)}
    for name, values in (("turns", turns), ("speakers", speakers), ("words", words)):
        summary = {"mean": round(fmean(values), 1), "median": median(values), "most": max(values)}
        sizes |= {f"{name}, {kind}": value for kind, value in summary.items()}
    return sizes


def count_labels(splits: Splits, labels: Sequence[str]) -> dict[str, dict[str, int]]:
    """Split -> label -> utterances, in prompt order."""
    found = {}
    for name, dialogues in splits.items():
        of_split = Counter(one.label for dialogue in dialogues for one in dialogue.utterances)
        found[name] = {label: of_split[label] for label in labels}
    return found


def share_transitions(
    dialogues: Sequence[Dialogue], labels: Sequence[str], same_speaker: bool = False
) -> list[list[float]]:
    """[from][to]: of the turns that follow one labelled `from`, the share labelled `to`; rows add up to 1, or are 0.

    same_speaker: from a speaker's turn to the next of the same speaker, whatever others say in between.
    """
    counts: Counter[tuple[str | None, str | None]] = Counter()
    for dialogue in dialogues:
        for chain in _chains(dialogue, same_speaker):
            counts.update(pairwise(chain))
    totals = {label: sum(counts[label, other] for other in labels) for label in labels}
    return [[counts[label, other] / max(1, totals[label]) for other in labels] for label in labels]


def _chains(dialogue: Dialogue, same_speaker: bool) -> list[list[str | None]]:
    chains: dict[int, list[str | None]] = {}
    for one in dialogue.utterances:
        chains.setdefault(one.speaker if same_speaker else 0, []).append(one.label)
    return list(chains.values())


def common_texts(dialogues: Sequence[Dialogue], count: int) -> list[tuple[str, int, int]]:
    """(text, how often, under how many labels) of the commonest utterances, letter case and outer blanks aside."""
    labels: dict[str, list[str | None]] = {}
    for dialogue in dialogues:
        for one in dialogue.utterances:
            labels.setdefault(one.text.strip().lower(), []).append(one.label)
    commonest = sorted(labels.items(), key=lambda item: (-len(item[1]), item[0]))[:count]
    return [(text, len(under), len(set(under))) for text, under in commonest]


def render_dialogue(dialogue: Dialogue) -> str:
    """One dialogue in full: turn, speaker, label, text."""
    width = max(len(str(one.label)) for one in dialogue.utterances)
    lines = [
        f"{turn:3}  Speaker_{one.speaker}  {one.label!s:<{width}}  {one.text}"
        for turn, one in enumerate(dialogue.utterances)
    ]
    return "\n".join([f"dialogue {dialogue.dialogue_id}", *lines])
