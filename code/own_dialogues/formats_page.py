"""demo/FORMATS.md: the table of forms for users, each with an example that the tests read."""

from basics.markdown import render_table
from dialogue_files.readers.forms import FORMATS, NOT_READ
from dialogue_files.readers.tables import SYNONYMS

EXAMPLES = "../tests/dialogue_files/files"  # as seen from demo/
_BEGIN = """# Files of dialogues that are read

Made by `python code/predict.py --formats > demo/FORMATS.md`; the tests read every example.

Which form a file has is found by its suffix and its beginning: of the forms below with its suffix, the first that the
beginning shows is taken. Where that is not the plain form of the suffix, a line says so, and `--input_format` asks for
another. `python code/predict.py --input FILE --preview True` shows what would be judged, before any model is asked."""
_FOR_ALL = """For all of them, where *told* means a line on stderr:

- **Names** are compared in one Unicode form and, from two letters on, without case (`RUTH` is Ruth), which is told.
- **Brackets behind a name**, in text and subtitles: how something is said and small letters are left off
  (`Paul (Laughing)` is Paul, `Sam (tenant)` is Sam), other words kept, as there may be another Anna (`Anna (Sales)`).
  Before it, how something is said is left off too (`(laughing) Paul:`). In text it is told where `Sam (tenant)` and
  `Sam (landlord)` are taken for one.
- **Nobody** is `Note:`, `Session 2:` or `[Scene ...]`, and in text a whole date before the first turn of a dialogue
  (`Chat started: 2024-05-01 10:01`; `Ben: 5/1/2024` before that of the file alone), and `Participants:` before the
  first turn, or before names and the first turn of a dialogue.
- **Interviews, minutes**: `Q1:`, `A1:`, `Q2:` are two people, Q and A, where an answer has its question's number, and
  so are `Q` and `A` before a dot or a gap (`Q. Where?`). What stands above a line `Transcript` is the head of a
  meeting, which is one dialogue. All is told.
- **Times beside names** are nobody's: `[0:05] Ann:`, a day between name and time (`Ann, Wed 10:02`; in numbers or
  English), and, which is told, `Ann, 5/1/2024:`, and `Ann 10.02:` or `Ann [1.25s]:` where two people have one and it
  never falls. People whose names differ in such a number alone are warned of, and
  where all speak once those whose names differ in any. In text `Ann: So [0:05] what?` has no time in what is said.
- **Lines** end with a line feed, and in text with what else ends them before names and colons of which a line has
  two or more, which is told.
- **Before a colon**, in text: always a name; one that looks like speech is warned of. In subtitles: a name if it looks
  like one (`Ruth:`, not `The truth is:`), but never where names stand in tags (`<v Ruth>`).
- **Subtitles** in which nine cues of ten name nobody, or half of them do not and no name stands twice, are warned of.
  `(RUTH) No!` is Ruth where `RUTH:` stands in the file, else speech. `(RUTH)` alone is then a sound, which is told
  unless it is `(SIGHS)` or `[MUSIC]`, as it is where `MUSIC:` is taken for a speaker.
- **Turns without words** are left out. What is left out is counted in one line, with the first place of each kind.
- **Text** is in UTF-8, in UTF-16 or UTF-32 as its first bytes tell, or, but for JSON, in a code page that its letters
  suggest, which is a guess. What is not UTF-8 is told; `--encoding cp1252` names another.
- **Tables**: what separates the header separates the columns. With tabs and bars, quotes are characters where each line
  has all its cells and a program would not have quoted so (Excel quotes each cell with a comma). The rule below a
  Markdown header (`|---|---|`) is nothing.
  A column `dialogue` (or `dialog`) is what is said where no other column is; a column `line` that holds only numbers
  beside one is none.
- **Messages of system and tools** are known by `role` or `from`; in tables, and where a name stands beside it, only
  with a text called `content` or `value`.
- **Order**: tables, JSON and subtitles are taken in the order of the file. Where what numbers the turns or tells their
  times (a column, a key, those of cues) falls within a dialogue, it is told. Transcripts of services and Messenger's
  messages are put in the order of their times.
- **Memory** does not grow with the file; an element of a JSON list is held as a whole, and so is a service's
  transcript, of 32 Mi characters at most. ConvoKit's turns wait on disk.

What comes out of each example, and of more files of these and other tools:
[answers.yaml](../tests/dialogue_files/files/answers.yaml).

Columns of tables and keys of JSON go by these names, case, blanks, hyphens and capitals in words aside (`dialogueId`);
of several the first that is there counts:"""
_NOT_READ = """Not read. JSON, TextGrid, CHAT, RTF, PDF, HTML, XML, and lines that begin with keys in place of names
(`speaker: Ann`, `text: Hi`) are known by their beginning, and refused, in .txt and .md too:"""


def render_formats() -> str:
    """The page as Markdown."""
    rows = []
    for name, one in FORMATS.items():
        example = f"[{name}]({EXAMPLES}/{name}{one.suffixes[0]})"
        rows.append(
            (f"`{name}`", " ".join(one.suffixes), one.made_by, one.sign, one.meaning.replace("<", "&lt;"), example)
        )
    header = ("`--input_format`", "files", "made by", "recognised by", "what is in it", "example")
    ways: dict[str, list[str]] = {}
    for suffix, way in NOT_READ.items():
        ways.setdefault(way, []).append(suffix)
    refused = render_table(("files", "what to do"), [(" ".join(suffixes), way) for way, suffixes in ways.items()])
    names = render_table(("what", "names"), [(f"the {what}", ", ".join(names)) for what, names in SYNONYMS.items()])
    forms = render_table(header, rows)
    return "\n\n".join((_BEGIN, forms, _FOR_ALL, names, _NOT_READ, refused)) + "\n"
