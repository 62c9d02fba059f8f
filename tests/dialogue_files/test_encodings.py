"""What a file is in: told by its first bytes, guessed, or said with --encoding; what was taken is said."""

import io
import json
from pathlib import Path

import pytest

import predict
from basics.errors import UserError
from commands import assert_one_line_error, call_script
from dialogue_files.readers import encodings
from dialogue_files.reading import count_turns, find_format, read_turns

SAID = "Zoë: où ça ?\nJörg: là-bas\n"
TEXTS = [("Zoë", "où ça ?"), ("Jörg", "là-bas")]


def texts_of(path: Path, encoding: str | None = None) -> list[tuple[str, str]]:
    return [(one.speaker, one.text) for one in read_turns(path, find_format(path, None, encoding), encoding)]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "mac_roman", "utf-16-le", "utf-16-be", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_an_encoding_that_is_said_is_taken(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(SAID.replace("\n", end).encode(encoding))
    assert texts_of(path, encoding) == TEXTS
    told = list(count_turns(path, "text", encoding).report.lines())
    assert (f"read as {encoding}, as --encoding says" in told) == (encoding != "utf-8")


def test_what_is_said_goes_before_what_is_guessed_or_marked(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes("Łucja: późno\n".encode("cp1250"))
    assert texts_of(path, "cp1250") == [("Łucja", "późno")]
    assert texts_of(path, "cp1252") == [("£ucja", "póŸno")]
    path.write_bytes(SAID.encode("utf-16"))
    assert texts_of(path) == TEXTS
    assert list(count_turns(path, "text").report.lines()) == ["read as utf-16, as its first bytes say"]


def test_json_is_read_in_the_encoding_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_bytes(json.dumps([{"speaker": "Zoë", "text": "là"}], ensure_ascii=False).encode("cp1252"))
    assert texts_of(path, "cp1252") == [("Zoë", "là")]
    refused = call_script(predict.main, "--input", path, "--preview", "True")
    assert_one_line_error(refused, "read as json, line 1: not UTF-8 text", "or say --encoding cp1252")


@pytest.mark.parametrize("end", ["\n", "\r"])
def test_the_line_that_is_not_in_the_encoding_is_named(tmp_path: Path, end: str) -> None:
    """Also beyond the first block, and where a character begins in the block before."""
    path = tmp_path / "own.txt"
    lines = ["花: はい"] * 3_000
    lines[2_500] = "花: \x00"
    path.write_bytes(end.join(lines).encode("cp932").replace(b"\x00", b"\x81\x20"))
    refused = call_script(predict.main, "--input", path, "--preview", "True", "--encoding", "cp932")
    assert_one_line_error(refused, "read as text, line 2501: not cp932 text", "--encoding says which")


def test_a_fault_after_a_character_that_begins_in_the_block_before(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    begin = b"Ann: hi\n" * (io.DEFAULT_BUFFER_SIZE // 8 - 1) + b"Ann: "
    path.write_bytes(begin + "\U00020000".encode("gb18030") + b"\n\n\xff\nAnn: hi\n")
    assert len(begin) + 3 == io.DEFAULT_BUFFER_SIZE
    with pytest.raises(UserError, match=f"read as text, line {io.DEFAULT_BUFFER_SIZE // 8 + 2}: not gb18030 text"):
        count_turns(path, "text", "gb18030")


def test_a_fault_in_letters_that_a_mark_has_begun(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(b"Ann: hi\nAnn: hi\nAnn: \x1b$B\xff\xff\n")
    with pytest.raises(UserError, match="read as text, line 3: not iso2022_jp text"):
        count_turns(path, "text", "iso2022_jp")


def test_the_form_is_found_in_the_encoding_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes("13/06/23, 19:35 - Zoë: là\n".encode("utf-16-le"))
    assert (find_format(path), find_format(path, None, "utf-16-le")) == ("text", "whatsapp")


def test_preview_and_help_know_the_encoding(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes(SAID.encode("utf-16-le"))
    shown = call_script(predict.main, "--input", path, "--preview", "True", "--encoding", "UTF-16LE")
    assert shown.returncode == 0, shown.stderr
    assert [(row["speaker"], row["text"]) for row in map(json.loads, shown.stdout.splitlines())] == TEXTS
    assert "read as utf-16-le, as --encoding says" in shown.stderr.splitlines()
    for name in ("nope", "rot13", "hex"):
        refused = call_script(predict.main, "--input", path, "--preview", "True", "--encoding", name)
        assert_one_line_error(refused, f"--encoding: '{name}' is no encoding, allowed are utf-8, ")


def test_faults_of_files_whose_lines_end_in_cr_and_of_halves_of_characters(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes("Zoë: là\rAnn: é".encode() + b"\xff\r")
    with pytest.raises(UserError, match="read as text, line 2: not utf-8 text"):
        count_turns(path, "text")
    path.write_bytes(b"Ann: a\nAnn: +2AA-\n")
    with pytest.raises(UserError, match="read as text, line 2: not UTF-8 text"):
        count_turns(path, "text", "utf-7")


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("cp1251", ["XXL тоже мало?", "Где ты был вчера вечером?", "Ужасно жаль, Xbox сломан"]),
        ("cp1251", ["Где ты был вчера вечером?", "Извини, я забыл телефон", "Ну вот, опять! Ужасно жаль"]),
        ("cp1253", ["Πού ήσουν χθες το βράδυ;", "Συγγνώμη, ξέχασα", "Είμαι πολύ χαρούμενος που ήρθες τώρα"]),
        ("mac_roman", ["Schön – es ist für mich", "Müde bin ich, geh zur Ruh", "Ärgerlich, wirklich ärgerlich"]),
        ("cp1252", ["I don’t know", "It’s late — go home", "“Fine,” she said…"]),
    ],
)
def test_code_pages_that_spreadsheets_write_are_guessed(tmp_path: Path, encoding: str, lines: list[str]) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(("speaker,text\r\n" + "".join(f'Ann,"{line}"\r\n' for line in lines)).encode(encoding))
    assert texts_of(path) == [("Ann", line) for line in lines]
    guessed = f"read as {encoding}, which is guessed, as it is no UTF-8; otherwise: --encoding"
    assert guessed in count_turns(path, "csv").report.lines()


@pytest.mark.parametrize(
    ("encoding", "lines"),
    [
        ("cp1252", ["Ana: ¿Dónde estás? — “Aquí”", "Ben: ¡Mañana, señor! ©"]),
        ("mac_roman", ["Élodie: C'est très étonnant, à bientôt", "Jürgen: Das wäre schön, ich hätte es nie geglaubt"]),
    ],
)
def test_no_code_page_is_guessed_of_a_file_with_a_byte_that_no_text_has_there(
    tmp_path: Path, encoding: str, lines: list[str]
) -> None:
    path = tmp_path / "own.txt"
    path.write_bytes("\n".join(lines).encode(encoding) + b"\n")
    assert f"read as {encoding}, which is guessed" in "".join(count_turns(path, "text").report.lines())
    path.write_bytes("\n".join(lines).encode(encoding) + b"\nBo: \xff\n")
    with pytest.raises(UserError, match="line 1: not UTF-8 text"):
        count_turns(path, "text")


def test_a_code_page_is_guessed_from_the_first_lines_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    monkeypatch.setattr(encodings, "_best_page", lambda sample: looked_at.append(len(sample)))
    path = tmp_path / "own.txt"
    path.write_bytes("Ann: über alles\n".encode("cp1252") * 20_000)
    with pytest.raises(UserError, match="line 1: not UTF-8 text"):
        count_turns(path, "text")
    assert set(looked_at) == {-(-(encodings.SAMPLE + 1) // 16) * 16}
