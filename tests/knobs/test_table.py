"""The table of knobs: its rows fit each other, main_new.py and code/README.md, and it needs no library."""

import re
import subprocess
import sys
from dataclasses import MISSING, fields

import pytest

from bases.table import BASES
from basics.markdown import render_row, replace_section
from commands import REPOSITORY
from data_utils.corpora.places import SMALL_TRAIN
from data_utils.labels import DATASETS
from data_utils.retrieval import RetrievalSettings
from knobs.environment import find_default, is_read
from knobs.kinds import COUNT, FRACTION, NUMBER, PART, POSITIVE, SEED, SHARE, WHOLE
from knobs.readers import ALL_PARAMETERS, LORA, MAIN, MIXED, PLAIN, WINDOW, ZERO_SHOT
from knobs.reference import render_help, render_table
from knobs.table import KNOBS
from training.arguments import GROUPS

FLAGS = {item.name: item for group in GROUPS for item in fields(group)}
NEEDS_THE_DISK = {"MODEL_NAME", "encoder", "checkpoint_dir", "deepspeed_config"}
RECIPE_WORDS = {*BASES, *DATASETS, SMALL_TRAIN, WINDOW, PLAIN, MIXED, ZERO_SHOT, LORA, ALL_PARAMETERS}


@pytest.mark.parametrize("name", KNOBS)
def test_every_default_is_of_its_own_kind(name: str) -> None:
    knob = KNOBS[name]
    values = [value for value in (knob.default, *knob.recipes.values()) if value is not None and value != "unified"]
    assert name in NEEDS_THE_DISK or all(map(knob.kind.fits, values))
    assert {word for words in knob.recipes for word in words.split()} <= RECIPE_WORDS


def test_a_base_that_has_the_recipe_of_another_has_none_of_its_own() -> None:
    borrowed = {base.name: base.recipe for base in BASES.values() if base.recipe}
    assert borrowed and all(BASES[other].recipe == "" for other in borrowed.values())
    words = {word for knob in KNOBS.values() for recipe in knob.recipes for word in recipe.split()}
    assert not words & borrowed.keys() and words & {*borrowed.values()}


def test_every_flag_of_main_new_that_is_a_knob_comes_from_the_table() -> None:
    read_by_main = {knob.name for knob in KNOBS.values() if any(reader.program == MAIN for reader in knob.readers)}
    assert len(read_by_main) > 30 and read_by_main <= set(FLAGS)
    for name in read_by_main - {"max_length"}:  # there 0 is the dataset's own
        assert FLAGS[name].default == KNOBS[name].kind.value(KNOBS[name].default) is not MISSING
        assert FLAGS[name].metadata == {"help": KNOBS[name].told.replace("`", ""), "kind": KNOBS[name].kind}
        assert type(FLAGS[name].default) is FLAGS[name].type


def test_the_defaults_of_retrieval_are_those_of_its_settings() -> None:
    usual = RetrievalSettings("encoder")
    told = {name: KNOBS[name].kind.value(KNOBS[name].default) for name in ("pairing", "position", "exclude_identical")}
    assert told == {name: getattr(usual, name) for name in told}
    assert (KNOBS["demonstrations"].default, KNOBS["domain_balance"].default) == (str(usual.count), str(usual.balance))
    assert KNOBS["retrieval_seed"].default == str(usual.seed)


@pytest.mark.parametrize(
    ("kind", "fitting", "unfitting"),
    [
        (WHOLE, "0 7 123456789", "-1 01 1.0 1234567890 a x[0] ١"),
        (COUNT, "1 10", "0 01 -3 +1"),
        (SEED, "0 4294967295", "4294967296 -1"),
        (NUMBER, "0 1. .5 1e-3 2E+10", "-1 1e400 nan inf 1e 0x1"),
        (POSITIVE, "1 .5 1e-3 0.01", "0 0.0 .0 0e5 -1"),
        (FRACTION, "1 1.0 0.25 1e-2", "0 1.01 1e1 -0.5"),
        (SHARE, "0 0.999", "1 1.0 2"),
        (PART, "0 1 0.5", "1.5 -1"),
    ],
    ids=["whole", "count", "seed", "number", "positive", "fraction", "share", "part"],
)
def test_kinds_of_numbers(kind, fitting: str, unfitting: str) -> None:
    assert all(map(kind.fits, fitting.split()))
    assert not any(map(kind.fits, [*unfitting.split(), "", " 1", "1 ", "1\n"]))


def test_what_a_reader_reads_follows_the_other_settings() -> None:
    def reads(name: str, rows: str, **values: str) -> bool:
        usual = {knob.name: knob.default for knob in KNOBS.values()}
        return any(is_read(reader, rows, usual | values) for reader in KNOBS[name].readers)

    assert reads("pairing", WINDOW, domain_base="True") and not reads("pairing", WINDOW)
    assert not reads("pairing", MIXED, domain_base="True")
    assert not reads("pairing", WINDOW, domain_base="True", Experiments_setting=ZERO_SHOT)
    assert reads("position", WINDOW, domain_base="True", Experiments_setting=ZERO_SHOT)
    assert reads("num_beams", PLAIN, decode="generate") and not reads("num_beams", PLAIN)
    assert all(reads("calibrate", PLAIN, decode=way) for way in ("score", "transitions"))
    assert not reads("calibrate", PLAIN, decode="generate")
    assert reads("data_percent", MIXED, Experiments_setting=ZERO_SHOT)
    assert not reads("data_percent", WINDOW, Experiments_setting=ZERO_SHOT)
    assert reads("data_percent", WINDOW, Experiments_setting=ZERO_SHOT, domain_base="True")
    assert reads("lora_dim", WINDOW) and not reads("lora_dim", WINDOW, Experiments_setting=ALL_PARAMETERS)


def test_the_page_of_code_shows_the_table() -> None:
    table = render_table()
    assert all(f"| `{name}`" in table for name in KNOBS)
    assert render_row(("`seed`", "`42`", "whole number", KNOBS["seed"].meaning)) in table
    page = (REPOSITORY / "code" / "README.md").read_text(encoding="utf-8")
    assert replace_section(page, table, marks="knobs") == page, "python code/settings.py --table prints it"


@pytest.mark.parametrize("rows", [WINDOW, PLAIN, MIXED])
def test_the_help_of_a_script_has_what_it_reads_and_nothing_else(rows: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    told = render_help(rows)
    of_names = {found[1]: " ".join(found[0].split()) for found in re.finditer(r"^  (\w+)=.*(?:\n {24}.*)+", told, re.M)}
    names = set(of_names)
    read = {knob.name for knob in KNOBS.values() if any(rows in reader.rows for reader in knob.readers)}
    assert names == read - ({"dataset"} if rows == MIXED else set())  # which is refused there
    one_line = " ".join(told.split())
    for name in names:
        default = find_default(KNOBS[name], rows, {}, "")
        assert default is None or re.search(rf"\(default: {re.escape(default)}[;)]", of_names[name])
    epochs = {PLAIN: "6; with SmolLM2-135M: 2; with SmolLM2-135M and small_train: 3", MIXED: "8; "}.get(rows, "6; ")
    assert f"passes over train (default: {epochs}" in one_line
    length = {PLAIN: "300)", MIXED: "1200)"}.get(rows, "1024; with iemocap: 1200)")
    assert f"the oldest turns are left out (default: {length}" in one_line
    assert max(map(len, told.splitlines())) <= 80 and "|" not in told and "`" not in told


def test_settings_need_the_standard_library_alone() -> None:
    program = "import sys; import settings; print(*{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-S", "-c", program]
    done = subprocess.run(command, cwd=REPOSITORY / "code", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    own = {path.stem for path in (REPOSITORY / "code").iterdir()}
    assert {name for name in done.stdout.split() if name[0] != "_"} <= own | sys.stdlib_module_names
