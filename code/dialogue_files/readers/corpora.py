"""Emotion corpora as their owners publish them, where the form is their own: EmoryNLP, IEMOCAP, DailyDialog, ...

MELD's CSV and SemEval-2024's JSON are read as any table or JSON. The files of DailyDialog, EmpatheticDialogues and
IEMOCAP that are read here hold no labels.
"""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from basics.words import counted
from dialogue_files.readers.json_dialogues import objects, plain_text
from dialogue_files.readers.json_stream import Outline, stream_json
from dialogue_files.readers.tables import PartCounter, TableForm, find_table_form, fold_name, read_rows
from dialogue_files.report import Header, LeftOut, Remark
from dialogue_files.turns import LineError, Read, ReadTurn, read_lines

NOTICES = "lines that are no turn"
_EMORY_COLUMNS = ("utterance", "speaker", "season", "episode", "scene_id")
_EMOTION_COLUMN, _TURN_COLUMN = "emotion", "utterance_id"
_EMPATHETIC_COLUMNS = ("conv_id", "utterance_idx", "speaker_idx", "utterance")
IEMOCAP = re.compile(r"(?P<dialogue>Ses\d\d[FM]_\w+?)_(?P<speaker>[FM])(?:XX)?\d+ \[[\d.]+-[\d.]+\]:\s*(?P<text>.*)")
END_OF_UTTERANCE = "__eou__"
_NUMBER = re.compile(r"\d{1,9}")
_QUOTED_NAME = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_ECF_HEAD = re.compile(r"(\S+)\s+(\d{1,9})")
_ECF_PAIRS = re.compile(r"[\s(),\d]*")
_ECF_TURN = re.compile(r"\d+ \| (?P<speaker>[^|]+?) \| (?P<emotion>[^|]+) \| (?P<text>.*?)(?:\s\|[^|]*)?")


def is_emory_json(outline: Outline) -> bool:
    """Whether a file is a part of EmoryNLP, episodes of scenes of utterances."""
    return outline.under in ("episodes", "scenes") and (outline.has("scenes") or outline.has("utterances", "scene_id"))


def read_emory_json(stream: BinaryIO) -> Iterator[Read]:
    """Turns of EmoryNLP's JSON. Dialogues are scenes; two who speak at once are one speaker, 'Nora Bell, Tim Rowe'."""
    part = -1
    for element in stream_json(stream, {"episodes", "scenes"}):
        if not element.listed:
            continue
        episode = element.key == "episodes"
        lines = element.lines(["scenes", "utterances"] if episode else ["utterances"])
        (value,) = objects([element.value], element.line, element.key)
        for scene in objects(value.get("scenes"), element.line, "scenes") if episode else [value]:
            part += 1
            utterances = objects(scene.get("utterances"), element.line, "utterances")
            for utterance, line in zip(utterances, lines, strict=False):
                speakers = plain_text(utterance.get("speakers"), "speaker")
                text = plain_text(utterance.get("transcript"), "utterance")
                if speakers is None or text is None:
                    raise LineError(line, "an utterance has no speakers or no transcript, allowed is EmoryNLP's JSON")
                emotion = utterance.get("emotion")
                name = str(scene.get("scene_id"))
                yield ReadTurn(part, name, speakers or "nobody", text, line, emotion and str(emotion))


def has_columns(line: str, columns: Sequence[str]) -> bool:
    """Whether the header of a CSV file has all of these columns."""
    return set(columns) <= {fold_name(cell.strip('"')) for cell in line.strip().split(",")}


def _find_places(header: Sequence[str], columns: Sequence[str], line: int) -> dict[str, int]:
    """Folded name -> place of each column; LineError when one of `columns` is not there."""
    places = {fold_name(name): place for place, name in enumerate(header)}
    missing = [name for name in columns if name not in places]
    if missing:
        raise LineError(line, f"the header names no {', '.join(missing)}, allowed is the corpus's own")
    return places


def is_emory_table(lines: Sequence[str]) -> bool:
    """Whether a file is EmoryNLP's CSV, in which a scene's number begins anew in every episode."""
    return bool(lines) and has_columns(lines[0], _EMORY_COLUMNS)


def read_emory_table(stream: BinaryIO) -> Iterator[Read]:
    """Turns of EmoryNLP's CSV; a dialogue is named as in the JSON, s01_e02_c03 of Season, Episode and Scene_ID."""
    places, parts, width = {}, PartCounter(), 0
    for line, row in read_rows(stream, find_table_form(stream, ",")):
        if not places:
            places, width = _find_places(row, _EMORY_COLUMNS, line), len(row)
            yield Header(tuple(row), line)
            continue
        if len(row) != width:
            raise LineError(line, f"{counted(len(row), 'cell')}, but the header has {width}")
        text, speaker, *numbers = (row[places[name]] for name in _EMORY_COLUMNS)
        if not all(_NUMBER.fullmatch(number.strip()) for number in numbers):
            raise LineError(line, f"Season, Episode, Scene_ID are {', '.join(numbers)[:60]}, allowed are whole numbers")
        name = "_".join(f"{letter}{int(number):02}" for letter, number in zip("sec", numbers, strict=True))
        emotion = row[places[_EMOTION_COLUMN]] if _EMOTION_COLUMN in places else None
        turn = (_TURN_COLUMN, row[places[_TURN_COLUMN]]) if _TURN_COLUMN in places else None
        yield ReadTurn(parts.of_turn(name), name, _speakers(speaker), text, line, emotion, turn)


def _speakers(cell: str) -> str:
    """ "['Nora Bell', \"Tim O'Rowe\"]" -> "Nora Bell, Tim O'Rowe"."""
    if not cell.startswith("["):
        return cell
    return ", ".join(single or double for single, double in _QUOTED_NAME.findall(cell)) or cell


def is_empathetic(lines: Sequence[str]) -> bool:
    """Whether a file is EmpatheticDialogues' CSV."""
    return bool(lines) and has_columns(lines[0], _EMPATHETIC_COLUMNS)


def read_empathetic(stream: BinaryIO) -> Iterator[Read]:
    """Turns of EmpatheticDialogues' CSV, which quotes nothing and writes a comma as _comma_."""
    places, parts = {}, PartCounter()
    for line, row in read_rows(stream, TableForm(",", 0, raw=True)):
        if not places:
            places = _find_places(row, _EMPATHETIC_COLUMNS, line)
            continue
        if len(row) <= max(places[name] for name in _EMPATHETIC_COLUMNS):
            raise LineError(line, f"{counted(len(row), 'cell')}, but the header has {len(places)}")
        dialogue, number, speaker, text = (row[places[name]] for name in _EMPATHETIC_COLUMNS)
        turn = (_EMPATHETIC_COLUMNS[1], number)
        yield ReadTurn(
            parts.of_turn(dialogue), dialogue, speaker, text.replace("_comma_", ","), line, emotion=None, turn=turn
        )


def read_iemocap(stream: BinaryIO) -> Iterator[Read]:
    """Turns of IEMOCAP's transcriptions; their names begin with that of the dialogue, its speakers are F and M."""
    parts = PartCounter()
    for number, line in read_lines(stream):
        found = IEMOCAP.fullmatch(line.strip())
        if found:
            name = found["dialogue"]
            yield ReadTurn(parts.of_turn(name), name, found["speaker"], found["text"], number)
        elif line.strip():
            yield LeftOut(NOTICES, number)


def read_daily_dialog(stream: BinaryIO) -> Iterator[Read]:
    """Turns of DailyDialog's text: a dialogue on each line, in which two people, A and B, take turns."""
    yield Remark("nobody is named in DailyDialog: its dialogues are taken as turns of A and B, one after the other")
    for number, line in read_lines(stream):
        said = [text for text in line.split(END_OF_UTTERANCE) if text.strip()]
        for place, text in enumerate(said):
            yield ReadTurn(number, str(number), "AB"[place % 2], text, number)


def is_ecf(lines: Sequence[str]) -> bool:
    """Whether a file is a part of MECPE's corpus (ECF): a line of two numbers, one of pairs, then the utterances."""
    head, *others = lines[:3] or [""]
    turns = [line for line in others if not _ECF_PAIRS.fullmatch(line)]  # without pairs, their line is blank
    return bool(_ECF_HEAD.fullmatch(head.strip()) and turns and _ECF_TURN.fullmatch(turns[0].strip()))


def read_ecf(stream: BinaryIO) -> Iterator[Read]:
    """Turns of MECPE's text; a conversation is named by its number."""
    name, left, part, number = None, 0, -1, 0
    lines = read_lines(stream)
    for number, line in lines:
        line = line.strip()
        if left:
            found = _ECF_TURN.fullmatch(line)
            if not found:
                raise LineError(
                    number, f"{line[:60]!r} is no utterance, allowed is 'number | speaker | emotion | text | time'"
                )
            yield ReadTurn(part, name, found["speaker"], found["text"], number, found["emotion"])
            left -= 1
        elif line:
            head = _ECF_HEAD.fullmatch(line)
            if not head:
                raise LineError(number, f"{line[:60]!r} begins no conversation, allowed are its number and its length")
            name, left, part = head[1], int(head[2]), part + 1
            next(lines, None)  # the pairs of emotions and causes
    if left:
        early = counted(left, "turn")
        raise LineError(number, f"conversation {name} ends {early} too early, allowed is the length in its head")
