"""The shell pipeline's tables say the same as those in Python."""

import re
import runpy
import sys
from dataclasses import fields

import pytest

from bases.table import BASES, ENCODERS
from commands import REPOSITORY
from data_utils.labels import DATASETS
from training.arguments import GROUPS

SETTINGS = (REPOSITORY / "code/settings.sh").read_text(encoding="utf-8")
# name, reader, allowed, suffix
KNOBS = [line.split() for line in re.findall(r'^    "(\w+ .*)"$', SETTINGS, re.MULTILINE)]
FLAGS = {item.name: item for group in GROUPS for item in fields(group)}
DEFAULTS = dict(re.findall(r'\[(\w+)\]="?([\w.,-]+)', SETTINGS[SETTINGS.index("default+=") :]))


def test_datasets_and_bases() -> None:
    assert f'datasets="{" ".join(DATASETS)}"' in SETTINGS
    assert f'bases="{" ".join(BASES)}"' in SETTINGS
    assert f'encoders="{" ".join(ENCODERS)}"' in SETTINGS


def test_hub_ids_of_the_table() -> None:
    named = dict(re.findall(r"^    \[([\w.-]+/[\w.-]+)\]=([\w.-]+)$", SETTINGS, re.MULTILINE))
    assert named == {base.hub_id: base.name for base in BASES.values()}


def test_published_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    fetch = runpy.run_path(str(REPOSITORY / "original_data/fetch.py"))
    assert f'published="{" ".join(fetch["PUBLIC"])}"' in SETTINGS


def test_what_generate_alone_reads_has_the_defaults_of_main_new() -> None:
    table = re.search(r"read_by_generate=\((.*)\)", SETTINGS)
    named = dict(re.findall(r"\[(\w+)\]=(\w+)", table.group(1)))
    assert len(named) == 4
    assert named == {name: str(FLAGS[name].default) for name in named}


def test_every_knob_of_main_new_is_a_flag_with_the_same_choices() -> None:
    read_by_main = [knob for knob in KNOBS if knob[1] in ("every", "train", "lora")]
    assert len(read_by_main) > 20
    for name, _, allowed, _ in read_by_main:
        choices = FLAGS[name].metadata["choices"]
        if FLAGS[name].type is bool:
            choices = ("False", "True")
        assert not choices or allowed == f"oneof:{','.join(choices)}", name


def test_defaults_are_those_of_main_new() -> None:
    shared = set(DEFAULTS) & set(FLAGS) - {"max_length"}  # there 0 = the dataset's own
    assert len(shared) > 10
    for name in shared:
        kind = FLAGS[name].type
        value = DEFAULTS[name] == "True" if kind is bool else kind(DEFAULTS[name])
        assert value == FLAGS[name].default, name
