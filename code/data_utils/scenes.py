"""Dialogues that share a scene: the same turns, said again in another split or another dataset.

MELD and EmoryNLP are both of *Friends*, and every session of IEMOCAP plays the same scripts. Two dialogues share a
scene when at least two longer turns stand in both, word for word: of three distinct words or more, or of six distinct
letters where no blanks tell words apart. Hardly any two dialogues do so by chance: of IEMOCAP's 151 and the 2,259 of
the two others one pair.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from data_utils.dialogues import Dialogue
from data_utils.texts import is_long, words_of

SHARED_TURNS = 2  # longer turns that make it one scene

Turn = tuple[str, ...]  # its words


def long_turns(dialogue: Dialogue) -> list[Turn]:
    """The words of each longer turn of a dialogue, in order."""
    turns = (words_of(utterance.text) for utterance in dialogue.utterances)
    return [words for words in turns if is_long(words)]


def share_scenes(dialogues: Iterable[Dialogue], others: Sequence[Dialogue]) -> dict[int, tuple[int, ...]]:
    """Index of a dialogue -> indices of the `others` that it shares a scene with; without dialogues that share none."""
    return find_scenes(dialogues, place_turns(others))


def place_turns(dialogues: Iterable[Dialogue]) -> Mapping[Turn, set[int]]:
    """Longer turn -> indices of the dialogues in which it stands."""
    places: dict[Turn, set[int]] = defaultdict(set)
    for place, dialogue in enumerate(dialogues):
        for turn in long_turns(dialogue):
            places[turn].add(place)
    return dict(places)


def find_scenes(dialogues: Iterable[Dialogue], places: Mapping[Turn, set[int]]) -> dict[int, tuple[int, ...]]:
    """The same as `share_scenes`. places: of the others, see `place_turns`."""
    shared = {}
    for place, dialogue in enumerate(dialogues):
        found = Counter(other for turn in set(long_turns(dialogue)) for other in places.get(turn, ()))
        alike = sorted(other for other, turns in found.items() if turns >= SHARED_TURNS)
        if alike:
            shared[place] = tuple(alike)
    return shared


def without_shared(dialogues: Sequence[Dialogue], scored: Sequence[Dialogue]) -> tuple[Dialogue, ...]:
    """The dialogues that share no scene with any of `scored`."""
    shared = share_scenes(dialogues, scored)
    return tuple(dialogue for place, dialogue in enumerate(dialogues) if place not in shared)


def count_repeated(dialogues: Iterable[Dialogue], known: Collection[Turn]) -> tuple[int, int]:
    """(dialogues at least half of whose longer turns are in `known`, all), of those with two longer turns or more."""
    turns = [of_one for dialogue in dialogues if len(of_one := long_turns(dialogue)) >= SHARED_TURNS]
    repeated = [2 * sum(turn in known for turn in of_one) >= len(of_one) for of_one in turns]
    return sum(repeated), len(turns)
