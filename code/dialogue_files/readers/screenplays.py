"""Screenplays: a name in capitals above the speech, scenes and directions around it."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import BinaryIO

from dialogue_files.names import is_label, lists_people, without_aside
from dialogue_files.readers.headings import TIMED_HEADINGS, GrowingTurn, count_times_below, heading_name
from dialogue_files.readers.lines import DIRECTIONS, SCENE, is_direction, is_named_line
from dialogue_files.readers.transcripts import Asides
from dialogue_files.report import LeftOut
from dialogue_files.turns import Read, read_lines

SHOUTS_PER_HEADING = 4  # when there are so many lines in capitals for each name with a time, it is a screenplay
_CAPITALS = re.compile(r"[^\W\d_a-z][^a-z:：]{0,38}")


def _unforced(line: str) -> str:
    """A name without Fountain's marks: '@McCLANE' (a name in any case), 'RUTH ^' (who speaks at the same time)."""
    return line.removeprefix("@").removesuffix("^").strip()


def is_cue_name(line: str) -> bool:
    """Whether a line of a screenplay is a speaker's name: in capitals, alone, no scene and no cut."""
    bare = without_aside(_unforced(line))
    if not _CAPITALS.fullmatch(bare) or SCENE.match(bare) or bare.endswith((".", "!", "?", "-")):
        return False
    return not is_label(bare)


def is_screenplay(lines: Sequence[str]) -> bool:
    """Whether names stand in capitals above the speech, with few `Name: utterance` lines and names with times.

    Few, as a time that is said ('At 7:30') looks like a name with one; and shouted lines look like names in capitals.
    """
    lines = [line.strip() for line in lines]
    cues = sum(is_cue_name(line) and not lists_people(line) and _has_lower(after) for line, after in pairwise(lines))
    if cues < 2 or cues <= sum(map(is_named_line, lines)):
        return False
    timed = max(sum(heading_name(line, kind) is not None for line in lines) for kind in TIMED_HEADINGS)
    timed = max(timed, count_times_below(lines))
    return timed < 2 or timed * SHOUTS_PER_HEADING < cues


def _begins_speech(line: str) -> bool:
    return is_cue_name(line) or (line.startswith("@") and bool(_unforced(line)))


def _has_lower(line: str) -> bool:
    return any(map(str.islower, line))


def read_screenplay(stream: BinaryIO) -> Iterator[Read]:
    """Turns of a screenplay: a name in capitals, the speech below it up to a blank line; the rest is directions."""
    turn, asides, begun = GrowingTurn(), Asides(), False
    for number, line in read_lines(stream):
        line = line.strip()
        if not line:
            if turn.text:
                yield from turn.end()
        elif turn.speaker is None and _begins_speech(line) and (begun or not lists_people(line)):
            begun = True
            turn.begin((yield from asides.take_off(_unforced(line))), number)
        elif turn.speaker is None or is_direction(line):
            yield LeftOut(DIRECTIONS, number)
        else:
            turn.add(line, number)
    yield from turn.end()
