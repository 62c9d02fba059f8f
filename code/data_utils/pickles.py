"""What a corpus pickle holds, checked piece by piece before it is used."""

import reprlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.files import is_unicode
from basics.words import counted
from data_utils.labels import LETTERS, ONE_HOT, SPLITS, ZERO_OR_OTHER, DatasetSpec

# Slot name -> its content: a dict dialogue -> list per turn, or a list of dialogue ids for a split.
Slots = dict[str, Any]
TURN_SLOTS = ("speakers", "labels", "sentences")
_LETTERS = {"M": 0, "F": 1}
_HALF_CHARACTER = "half a character (a lone surrogate), allowed is Unicode text"


def _decode_letter(speaker: Any, _width: int) -> int | None:
    return _LETTERS.get(speaker) if type(speaker) is str else None


def _decode_one_hot(speaker: Any, width: int) -> int | None:
    if type(speaker) not in (list, tuple) or len(speaker) != width:
        return None
    if any(type(number) is not int for number in speaker) or sorted(speaker) != [0] * (width - 1) + [1]:
        return None
    return speaker.index(1)


def _decode_zero_or_other(speaker: Any, _width: int) -> int | None:
    return int(speaker != "0") if type(speaker) is str else None


# Speaker encoding -> (its decoder, the values it allows).
_SPEAKER_DECODERS = {
    LETTERS: (_decode_letter, "'M' or 'F'"),
    ONE_HOT: (_decode_one_hot, "{width} whole numbers, one of them 1 and the rest 0"),
    ZERO_OR_OTHER: (_decode_zero_or_other, "'0' or another text"),
}


def decode_speaker(speaker: Any, spec: DatasetSpec) -> int | None:
    """Return the number of a speaker, from 0; None if the encoding is not the dataset's."""
    decode, _ = _SPEAKER_DECODERS[spec.speaker_encoding]
    return decode(speaker, spec.speakers)


def name_slots(content: Any, spec: DatasetSpec, path: Path) -> Slots:
    """Return the places of a pickled list by name; UserError if their number or kind is wrong."""
    wanted = f"a list of {len(spec.slots)} places: {', '.join(spec.slots)}"
    if type(content) is not list or len(content) != len(spec.slots):
        found = counted(len(content), "place") if type(content) is list else f"a {type(content).__name__}"
        raise UserError(f"{path}: holds {found}, allowed for {spec.name} is {wanted}")
    slots = dict(zip(spec.slots, content, strict=True))
    for name, slot in slots.items():
        kinds = (list, tuple) if name in SPLITS else (dict,)
        if type(slot) not in kinds:
            allowed = "a list of dialogue ids" if name in SPLITS else "a dict of dialogues"
            raise UserError(f"{path}: slot {name} is a {type(slot).__name__}, allowed is {allowed}")
    _refuse_repeated_turns(slots, path)
    return slots


def _refuse_repeated_turns(slots: Slots, path: Path) -> None:
    """UserError where dialogues share so many lists of turns that they have more turns than the file has bytes."""
    turns = sum(len(column) for column in slots["sentences"].values() if type(column) in (list, tuple))
    if turns > path.stat().st_size:
        raise UserError(f"{path}: has {turns:,} turns, allowed are at most as many as the file has bytes")


def find_problems(slots: Slots, spec: DatasetSpec) -> Iterator[str]:
    """Every fault of the slots as 'where: what, what is allowed'; turns are checked if the splits have no fault."""
    problem = None
    for problem in _find_split_problems(slots):
        yield problem
    if problem is not None:
        return
    for split in SPLITS:
        for dialogue_id in slots[split]:
            for problem in _find_dialogue_problems(dialogue_id, slots, spec):
                yield f"dialogue {dialogue_id!r} ({split}){problem}"


def _find_split_problems(slots: Slots) -> Iterator[str]:
    split_of: dict[int | str, str] = {}
    for split in SPLITS:
        for dialogue_id in slots[split]:
            if type(dialogue_id) not in (int, str):
                yield f"slot {split} holds {reprlib.repr(dialogue_id)}, allowed are ids: text or whole numbers"
                continue
            if type(dialogue_id) is str and not is_unicode(dialogue_id):
                yield f"slot {split} holds {dialogue_id!r} with {_HALF_CHARACTER}"
                continue
            # 7 and '7' would give rows of the same id.
            name = str(dialogue_id)
            if name in split_of:
                yield f"dialogue {dialogue_id!r} is listed in {split_of[name]} and in {split}, allowed is once"
            split_of[name] = split


def _find_dialogue_problems(dialogue_id: int | str, slots: Slots, spec: DatasetSpec) -> Iterator[str]:
    for slot in TURN_SLOTS:
        if dialogue_id not in slots[slot]:
            yield f": is in the list of its split but not in slot {slot}, allowed are ids that all slots hold"
            return
    columns = [slots[slot][dialogue_id] for slot in TURN_SLOTS]
    for slot, column in zip(TURN_SLOTS, columns, strict=True):
        if type(column) not in (list, tuple):
            yield f": its {slot} are a {type(column).__name__}, allowed is a list"
            return
    lengths = [len(column) for column in columns]
    if len(set(lengths)) != 1 or not lengths[0]:
        counts = ", ".join(f"{length} {slot}" for slot, length in zip(TURN_SLOTS, lengths, strict=True))
        yield f": has {counts}, allowed is the same number of each, at least one"
        return
    for turn, values in enumerate(zip(*columns, strict=True)):
        for problem in _find_turn_problems(*values, spec):
            yield f" turn {turn}: {problem}"


def _find_turn_problems(speaker: Any, label: Any, text: Any, spec: DatasetSpec) -> Iterator[str]:
    if decode_speaker(speaker, spec) is None:
        allowed = _SPEAKER_DECODERS[spec.speaker_encoding][1].format(width=spec.speakers)
        yield f"speaker {reprlib.repr(speaker)} is not understood, allowed are {allowed}"
    if type(label) is not int or not 0 <= label < len(spec.labels):
        last = len(spec.labels) - 1
        yield (f"label index {reprlib.repr(label)} is out of range, allowed are 0 to {last} ({', '.join(spec.labels)})")
    if type(text) is not str or not text.strip():
        yield f"utterance {reprlib.repr(text)} is empty or no text, allowed is text"
    elif not is_unicode(text):
        yield f"utterance {reprlib.repr(text)} has {_HALF_CHARACTER}"
