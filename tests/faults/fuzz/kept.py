"""Inputs that are kept, each with its end: what a reader once failed on, and what is known to be hard to read.

Target -> name -> (the file, a part of the refusal; None: it is read).
"""

import gzip
import json
import pickle
from collections.abc import Mapping

from basics.files import find_repository
from corpora import one_hot

KAKAO = b"----- May 1, 2024 -----\n[A] [10:01 AM] Hi\n"
BLANKS = b" " * 20_000
MARKS = "\u0316\u0300".encode() * 20_000
NESTED = b"[" * 5_000
LARGE = b"9" * 5_000
HEX = b"0x" + b"f" * 5_000
TUPLES = b")" + b"2\x86" * 60  # each holds the one before twice
ORDER = b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00i4\x85RK\x03"
DEEP_TUPLE = b")" + b"\x85" * 200_000
ADAPTER = b'{"peft_type": "LORA", "r": 8, "lora_alpha": 8, "target_modules": "q", "base_model_name_or_path": %s}'
HEADER = b"speaker,utterance\n"
EMORY = b"Season,Episode,Scene_ID,Utterance,Speaker\n"
SLACK = b'[{"type": "message", "ts": "1", "user": "a", "text": "%s"}]'
SERVICE = b'{"results": {"channels": [{"alternatives": [{"words": [%s]}]}]}}'
ALIASES = b"name: &a [x, x, x, x, x, x, x, x]\n" + b"".join(
    b"k%d: &k%d [%s]\n" % (number, number, b", ".join([b"*k%d" % (number - 1) if number else b"*a"] * 9))
    for number in range(12)
)
MERGES = b"name: &k0 {x: 1}\n" + b"".join(
    b"k%d: &k%d {<<: [%s]}\n" % (number, number, b", ".join([b"*k%d" % (number - 1)] * 9)) for number in range(1, 12)
)


def repeated_turns() -> bytes:
    """A pickle in which three hundred dialogues are one list of three hundred turns."""
    names = [f"d{number}" for number in range(300)]
    columns = [one_hot(0)] * 300, [0] * 300, [0] * 300, [f"Said {number}." for number in range(300)]
    return pickle.dumps([*(dict.fromkeys(names, one) for one in columns), names[:298], ["d298"], ["d299"]])


def row(**changes: object) -> bytes:
    """A row of a corpus, changed."""
    known = {"id": "sample/a/0", "task": "emotion_recognition", "input": "Speaker_0: So?", "target": "sad"}
    return json.dumps(known | changes).encode()


def far_base() -> bytes:
    """The configuration of a checkpoint that ships, over a base whose name no system takes."""
    path = find_repository() / "demo" / "adapters" / "meld" / "erc_config.json"
    return json.dumps(json.loads(path.read_bytes()) | {"base": "x" * 65_000}).encode()


def gguf_of_numbers(claimed: int, there: int) -> bytes:
    """A GGUF file without tensors whose one field claims to list so many bytes, of which some are there."""
    field = (1).to_bytes(8, "little") + b"a" + (9).to_bytes(4, "little") + bytes(4) + claimed.to_bytes(8, "little")
    return b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little") + field + bytes(there)


Kept = Mapping[str, Mapping[str, tuple[bytes, str | None]]]

KEPT: Kept = {
    "pickle_sample": {
        "a call of the system": (b"cos\nsystem\n(S'touch ran'\ntR.", "foreign object"),
        "a memo of two thousand million places": (b"\x80\x04Nr\xff\xff\xff\x7f.", "allowed for sample"),
        "a text longer than all memory": (b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.", "truncated or corrupt"),
        "bytes longer than the file": (
            b"\x80\x05\x96" + (1 << 34).to_bytes(8, "little") + b".",
            "truncated or corrupt",
        ),
        "a frame longer than the file": (
            b"\x80\x04\x95" + (1 << 40).to_bytes(8, "little") + b"N.",
            "allowed for",
        ),
        "a key of tuples in tuples, each twice": (b"\x80\x04}" + TUPLES + b"Ns.", "a tuple as a key"),
        "keys of tuples in tuples, many at once": (b"\x80\x04}(" + TUPLES + b"Nu.", "a tuple as a key"),
        "a key of tuples in each other": (b"\x80\x04}" + DEEP_TUPLE + b"Ns.", "a tuple as a key"),
        "a set of tuples in tuples": (b"\x80\x04\x8f(" + TUPLES + b"\x90.", "a tuple as a key"),
        "a set of an older protocol": (b"\x80\x02cbuiltins\nset\n]" + TUPLES + b"a\x85R.", "a tuple as a key"),
        "a frozen set": (b"\x80\x04(" + TUPLES + b"\x91.", "a tuple as a key"),
        "a number of 32,000 bits": (
            b"\x80\x04\x8b" + (4_000).to_bytes(4, "little") + b"\x7f" * 4_000 + b".",
            "whole number",
        ),
        "lists in each other": (b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".", "allowed for sample"),
        "a number's type of tuples in tuples": (b"\x80\x02cnumpy\ndtype\n" + TUPLES + b"\x85R.", "only int32"),
        "a byte order of tuples in tuples": (ORDER + TUPLES + b"\x86b.", "byte order"),
        "turns that are many times the same": (repeated_turns(), "allowed are at most as many"),
    },
    "rows": {
        "lists in each other": (NESTED, "nested too deeply"),
        "objects in each other": (b'{"a":' * 300 + b"1" + b"}" * 300, "nested too deeply"),
        "a number beyond all floats": (
            row(demonstrations=[{"id": "a", "label": "b", "similarity": 10**400}]),
            "digits",
        ),
        "half a character": (row(input="\ud800"), "surrogates"),
        "a line that ends elsewhere": (row(input="a\u2028b\u0085c"), None),
        "no JSON": (b"\x00\xff", "not a row"),
    },
    "manifest": {
        "lists in each other": (NESTED, "nested too deeply"),
        "an empty list": (b"[]", "allowed is a JSON object"),
    },
    "corpus_yaml": {
        "aliases that double": (ALIASES, "aliases make more"),
        "merges that double": (MERGES, "aliases make more"),
        "an alias to itself": (b"labels: &a [*a]\n", "nested too deeply"),
        "lists in each other": (b"labels: " + NESTED, "nested too deeply"),
        "a long number": (b"name: " + HEX, "whole number of"),
        "a date that is none": (b"name: 2020-99-99\n", "cannot be read"),
        "a time that is none": (b"name: !!timestamp x\n", "cannot be read"),
        "a mapping as a key": (b"? {a: b}\n: c\n", "the key (a mapping) is no text"),
        "an object of Python": (b"name: !!python/object/apply:os.system [touch ran]\n", "cannot be read"),
        "an escape sequence": (b'licence: "\\e[2J\\u202e"\n', None),
        "half a character": (b'licence: "\\ud800"\n', "half a character"),
        "a book": (b"# " + b"x" * 300_000, "characters, allowed are"),
        "a long name": (b"name: " + b"x" * 50_000, "characters, allowed are"),
    },
    "corpus_table": {
        "a label of marks": (b"speaker,utterance,emotion\nAnn,Hi.," + MARKS + b"\n", "the emotion has"),
    },
    "conditions": {
        "aliases that double": (ALIASES, "aliases make more"),
        "a date that is none": (b"groups: 2020-99-99\n", "cannot be read as YAML"),
        "a long number": (b"groups: {a: {settings: {seed: %s}}}\n" % HEX, "whole number of"),
        "lists in each other": (NESTED, "nested too deeply"),
        "nothing": (b"", "conditions.yaml"),
        "a group that is another folder": (
            b"groups: {..: {title: x, table: a, script: Uni, rows: {a: {}}}}\n",
            "groups",
        ),
    },
    "form_text": {
        "blanks after a name": (b"Ann:" + BLANKS + b"x", None),
        "blanks in bold type": (b"**" + BLANKS + b"x", "is no turn"),
        "blanks in a name": (b"Ann" + BLANKS + b"x: Hi.", "is no turn"),
        "names in brackets": (b"(" * 20_000 + b": x", "is no turn"),
        "marks in a name": (b"A" + MARKS + b": x", "is no turn"),
    },
    "form_headings": {
        "dashes after a time": (b"10:01 " + b"- " * 10_000 + b"\nHi.\n", None),
        "marks in a name before its text": (b"Ann:\nHi.\n**B" + MARKS + b":** Hi.\n", "characters"),
    },
    "form_whatsapp": {
        "blanks before a name": (b"1/2/24, 10:01 - ~" + BLANKS + b"x", None),
        "blanks in a message": (b"1/2/24, 10:01 - Ann: x" + BLANKS + b"x", "characters"),
        "an angle that stays open": (b"1/2/24, 10:01 - Ann: <" + b"a " * 4_000, None),
        "a poll without options": (b"1/2/24, 10:01 - Ann: POLL:" + b"\n" * 9_000 + b"x", None),
        "a poll of many options": (b"1/2/24, 10:01 - Ann: POLL:\nq\n" + b"OPTION: (1 v)\n" * 650 + b"x", None),
        "quotes and colons for a name": (b"1/2/24, 10:01 - " + b'":' * 4_000 + b" x", None),
    },
    "form_zoom_chat": {
        "blanks for a name": (b"10:01:03 From" + BLANKS + b"x", None),
        "blanks for whom it is": (b"10:01:03 From a to" + BLANKS + b"x", None),
        "replies that stay open": (b"10:01:03 From Ann to Bob: " + b'Replying to "a' * 700, None),
    },
    "form_discord_text": {"blanks in a name": (b"a" + BLANKS + b"x \xe2\x80\x94" + BLANKS + b"x", None)},
    "form_line": {
        "blanks behind a time": (b"2024/05/01(Wed)\n10:01\tAnn\tHi\n10:02 " + BLANKS + b"x", "characters"),
        "quotes that stay open": (b"2024/05/01(Wed)\n10:01\tAnn\t" + b'"' * 9_000, None),
    },
    "form_kakao": {
        "brackets for a name": (
            KAKAO + b"[A] " * 9_000,
            "characters",
        ),
        "who invites whom": (KAKAO + b" invited " * 900, None),
    },
    "form_vtt": {
        "voices that stay open": (b"00:01.000 --> 00:02.000\n" + b"<v " * 3_000, "nobody has been named"),
        "blanks in a voice": (b"00:01.000 --> 00:02.000\n<v" + b" " * 9_000, "nobody has been named"),
        "changes of speaker": (b"00:01.000 --> 00:02.000\n" + b">" * 9_000, "somebody else speaks"),
        "a reference to no character": (b"00:01.000 --> 00:02.000\n<v Ann>Hi &#" + LARGE + b";\n", None),
        "an arrow without end": (b"00:00:01" + b"-" * 20_000, "no cue begins"),
    },
    "form_ass": {
        "a cue of many lines": (b"Format: Start, End, Text\nDialogue: 1,2," + b"\\N" * 30_000, "a cue of"),
        "no columns": (b"Dialogue: 1,2,3\n", "without its columns"),
    },
    "form_csv": {
        "empty cells beyond the header": (HEADER + b"Ann,Hi." + b"," * 60_000 + b"\n", None),
        "a name of marks": (HEADER + b"A" + MARKS + b",Hi.\n", "the speaker has"),
        "a cell beyond all sizes": (HEADER + b"Ann," + b"x" * 200_000 + b"\n", "a cell has more than"),
    },
    "form_tsv": {"a cell of quotes": (b"speaker\tutterance\nAnn\t" + b'"' * 60_001 + b"\n", "characters")},
    "form_emory_csv": {
        "a number above the line": (EMORY + "\u00b2,1,1,Hi.,Ann\n".encode(), "whole numbers"),
        "a long number": (EMORY + LARGE + b",1,1,Hi.,Ann\n", "whole numbers"),
        "a name that is a sum": (EMORY + b"1,1,1,Hi.,[" + b"-" * 5_000 + b"1]\n", "the speaker has"),
        "a name that is a set": (EMORY + b"1,1,1,Hi.,[{[]}]\n", None),
        "two names": (EMORY + b"1,1,1,Hi.,\"['Nora Bell', 'Tim Rowe']\"\n", None),
    },
    "form_ecf": {
        "a length beyond all numbers": (b"1 " + LARGE + b"\n()\n1 | Ann | joy | Hi.\n", "begins no conversation")
    },
    "form_json": {
        "lists in each other": (NESTED, "nested too deeply"),
        "a long number": (b'[{"speaker": "Ann", "text": ' + LARGE + b"}]", "not JSON"),
        "a key that stands there twice": (b'[{"turns": [\n"x"], "turns": [{"speaker": "Ann", "text": {}}]}]', "a dict"),
        "half a character": (b'[{"speaker": "\\ud800", "text": "Hi."}]', "surrogate"),
        "a name of marks": (b'[{"speaker": "A' + MARKS + b'", "text": "Hi."}]', "the speaker has"),
    },
    "form_jsonl": {"lists in each other": (NESTED, "nested too deeply"), "not a number": (b"NaN", "holds nan")},
    "form_slack": {
        "links that stay open": (SLACK % (b"<http://a" * 5_000), "characters"),
        "a reference to no character": (SLACK % (b"&#" + LARGE), None),
        "people who stay open": (SLACK % (b"<@A|" * 5_000), "characters"),
    },
    "form_convokit": {
        "half a character": (
            b'[{"id": "1", "conversation_id": "1", "reply-to": null, "speaker": "A", "text": "\\ud800"}]',
            "surrogate",
        ),
        "a speaker of lists": (
            b'[{"conversation_id": "1", "speaker": ' + b"[" * 500 + b"1" + b"]" * 500 + b', "text": "Hi."}]',
            "nested too deeply",
        ),
    },
    "form_services": {
        "lists in each other": (NESTED, "nested too deeply"),
        "all of it wrapped again and again": (b'{"data":' * 99 + b"{}" + b"}" * 99, "nothing in it stands"),
        "words of lists": (
            SERVICE % (b'{"word": [1], "speaker": 0}' + b', {"word": "a", "speaker": 0}'),
            "the text a list",
        ),
        "a speaker that is an object": (SERVICE % b'{"word": "a", "speaker": {}}', "the speaker a dict"),
        "times without end": (SERVICE % b'{"word": "a", "speaker": 0, "start": 1e999}, {"start": NaN}', None),
        "half a character": (SERVICE % b'{"word": "\\ud800", "speaker": 0}', "surrogate"),
    },
    "form_messenger": {
        "half a character": (b'{"messages": [{"sender_name": "\\udc00", "content": "Hi."}]}', "surrogate"),
    },
    "encodings": {"UTF-32 without its mark": (b"\x02speaker,utterance\n", "not utf-32 text")},
    "pasted": {"blanks for a name": (b"10:01:03 From" + BLANKS + b"x", "is no turn")},
    "followed": {"lists in each other": (NESTED, "nested too deeply")},
    "erc_config": {
        "lists in each other": (NESTED, "nested too deeply"),
        "a list": (b"[" + row() + b"]", "missing"),
        "a base beyond all names": (far_base(), "File name too long"),
    },
    "adapter_config": {
        "no layers": (b'{"peft_type": "LORA"}', "not readable"),
        "a base that is a list": (ADAPTER % b"[]", "base_model_name_or_path is no text"),
    },
    "results": {"lists in each other": (NESTED, None), "no scores": (b'{"arguments": []}', None)},
    "elsewhere": {"lists in each other": (NESTED, None)},
    "adapter_alone": {"lists in each other": (NESTED, "nested too deeply")},
    "transitions": {
        "counts without end": (b'{"version": 1, "labels": ["a"], "own": [[1e999]], "dialogue": [[1]]}', "not a filter")
    },
    "trained_texts": {
        "a line that is none": (b"0" * 15 + b"\n", "no digest"),
        "no letters": (b"\xff" * 17, "no digest"),
    },
    "position": {"lists in each other": (NESTED, "not what this program wrote")},
    "log": {
        "a line that is no JSON": (b'{"kind": "step", "step": 1}\n{\n', "no line that training wrote"),
        "a line that is a list": (b"[]\n", "no line that training wrote"),
        "a line that is not whole": (b'{"kind": "step", "step": 1}\n{"kind', None),
        "a number that is none": (b'{"kind": "step", "step": 1, "loss": NaN}\n', "no line that training wrote"),
        "no text": (b"\xff\n", "no line that training wrote"),
    },
    "predictions": {
        "an id that is a list": (b'{"id": [], "task": "t", "target": "a", "label": "a"}', "not a row"),
        "lists in each other": (NESTED, "nested too deeply"),
    },
    "record": {"a number": (b"1.5", "cannot be read"), "lists in each other": (NESTED, "nested too deeply")},
    "counts": {
        "a count beyond all numbers": (
            b"dialogue,label,answer,count\na,sad,sad,99999999999999999999\n",
            "between 1 and",
        ),
        "a count beyond all memory": (b"dialogue,label,answer,count\na,sad,sad,999999999999\n", "between 1 and"),
    },
    "answers": {
        "more than is packed": (gzip.compress(b"x" * (65 << 20)), "more than"),
        "damage": (b"\x1f\x8b\x08" + b"\x00" * 40, "cannot be read"),
        "old line ends": (b"id,answer\ra/b/0,sad\r", "cannot be read"),
    },
    "breakdowns": {"damage": (b"\x1f\x8b\x08" + b"\x00" * 40, "cannot be read")},
    "source": {"files that are none": (b'{"hub_id": [], "files": 5}', None), "lists in each other": (NESTED, None)},
    "safetensors": {
        "a header longer than all memory": (b"\xff" * 8 + b"{}", "no whole safetensors file"),
        "a header longer than the file": ((1 << 40).to_bytes(8, "little") + b"{}", "no whole safetensors file"),
        "a shape that is none": ((20).to_bytes(8, "little") + b'{"a": {"shape": "x"}}', "no whole safetensors file"),
    },
    "gguf": {
        "a beginning alone": (b"GGUF\x03\x00\x00\x00" + b"\xff" * 16, "no whole GGUF file"),
        "more numbers than the file has": (gguf_of_numbers(1 << 40, 4), "no whole GGUF file"),
        "numbers one by one": (gguf_of_numbers(1 << 40, 80_000), "no whole GGUF file"),
    },
    "wheel": {"no archive": (b"PK\x03\x04", "could not download")},
}
