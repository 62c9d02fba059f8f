"""Whatever is written down in a format is read back, however the file is cut into blocks."""

import csv
import io
import json
from unittest.mock import patch

from hypothesis import assume, given
from hypothesis import strategies as st

from own_dialogues.names import is_label, name_key
from own_dialogues.readers import json_stream as dialogue_json
from own_dialogues.reading import FORMATS
from own_dialogues.turns import ReadTurn, clean, number_turns

CHARACTERS = st.characters(exclude_categories=("Cs", "Cc"), include_characters="\t\r\n,\"'")
WORDS = st.text(CHARACTERS, min_size=1, max_size=30)
TEXTS = WORDS.filter(str.strip)
NAMES = TEXTS.filter(lambda name: not {":", "："} & set(name))
# In text, brackets, stars and some words mean something.
PLAIN_NAMES = st.text(st.characters(categories=("L", "N", "Zs")), min_size=1, max_size=30).filter(
    lambda name: name.strip() and not is_label(name)
)
TURNS = st.lists(st.tuples(NAMES, TEXTS), min_size=1, max_size=6)
PLAIN_DIALOGUES = st.lists(st.lists(st.tuples(PLAIN_NAMES, TEXTS), min_size=1, max_size=6), min_size=1, max_size=4)
DIALOGUES = st.lists(TURNS, min_size=1, max_size=4)


def cleaned(dialogues) -> list[tuple[int, str, str]]:
    found = []
    for part, turns in enumerate(dialogues):
        shown: dict[str, str] = {}
        for name, text in turns:
            speaker = clean(name, "speaker", 100, 0)
            found.append((part, shown.setdefault(name_key(speaker), speaker), clean(text, "utterance", 100, 0)))
    return found


def read(name: str, content: str) -> list[tuple[int, str, str]]:
    turns = number_turns(FORMATS[name].read(io.BytesIO(content.encode("utf-8"))))
    return [(one.part, one.speaker, one.text) for one in turns]


@given(DIALOGUES, st.integers(1, 40), st.sampled_from([None, 1]))
def test_json(dialogues, block: int, indent: int | None) -> None:
    objects = [{"turns": [{"speaker": name, "text": text} for name, text in turns]} for turns in dialogues]
    with patch.object(dialogue_json, "BLOCK", block):
        assert read("json", json.dumps(objects, indent=indent)) == cleaned(dialogues)
    assert read("jsonl", "\n".join(map(json.dumps, objects))) == cleaned(dialogues)


@given(DIALOGUES, st.sampled_from([("csv", ","), ("csv", ";"), ("tsv", "\t")]), st.booleans())
def test_tables(dialogues, form: tuple[str, str], all_quoted: bool) -> None:
    name, separator = form
    # Where a cell goes over lines that look like rows, quotes may be characters: nobody can tell.
    assume(
        all_quoted or not any("\t" in cell and "\n" in cell for turns in dialogues for turn in turns for cell in turn)
    )
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    writer.writerow(["dialogue", "speaker", "utterance"])
    writer.writerows((part, *turn) for part, turns in enumerate(dialogues) for turn in turns)
    assert read(name, text.getvalue()) == cleaned(dialogues)


@given(PLAIN_DIALOGUES)
def test_plain_text(dialogues) -> None:
    plain = [[(name, text) for _, name, text in cleaned([turns])] for turns in dialogues]
    text = "\n\n".join("\n".join(f"{name}: {text}" for name, text in turns) for turns in plain)
    assert read("text", text) == cleaned(dialogues)


@given(TURNS)
def test_numbers_follow_the_order_of_appearance(turns) -> None:
    numbered = list(number_turns(ReadTurn(0, None, name, text) for name, text in turns))
    first = list(dict.fromkeys(one.speaker for one in numbered))
    assert [one.number for one in numbered] == [first.index(one.speaker) for one in numbered]
    assert [one.turn for one in numbered] == list(range(len(turns)))
