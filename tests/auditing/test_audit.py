"""code/audit.py: each figure against one worked out by hand or by brute force, and the page that shows them."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import audit as script
from auditing.duplicates import NEAR, Duplicates, KnownSets, KnownTexts
from auditing.findings import Repeated, audit
from auditing.labels import (
    LEAST_TURNS,
    Agreement,
    Inertia,
    measure_agreement,
    measure_inertia,
    share_labels,
    total_variation,
)
from auditing.tables import render_findings
from basics.files import find_repository
from basics.markdown import replace_section
from commands import assert_one_line_error, call_script
from data_utils.dialogues import Dialogue, Utterance, load_dialogues
from data_utils.labels import DATASETS

PAGE = find_repository() / "original_data" / "README.md"
SETS = ("iemocap", "meld", "EmoryNLP")
MELD, EMORY = (DATASETS[name].unified_labels for name in SETS[1:])
Turn = tuple[int, str, str]


def dialogue(*turns: Turn, name: str = "d") -> Dialogue:
    return Dialogue(name, tuple(Utterance(*turn) for turn in turns))


WORDS = st.frozensets(st.sampled_from("abcdefgh"), min_size=3)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=12))
def test_those_that_are_near_are_brute_forces(asked: list, there: list) -> None:
    near = [any(len(one & other) / len(one | other) >= NEAR for other in there) for one in asked]
    assert list(map(KnownSets(there).have_near, asked)) == near


def test_just_as_many_as_must_be_shared_are_near() -> None:
    """Though three fifths have no binary fraction."""
    for size in range(5, 500, 5):
        words = frozenset(map(str, range(size)))
        shared = frozenset(map(str, range(size * 3 // 5)))
        for one, is_near in ((words, True), (words | {"one more"}, False)):
            assert KnownSets([shared]).have_near(one) == KnownSets([one]).have_near(shared) == is_near, size


def test_duplicates_by_hand() -> None:
    train = ["I told you so, Ross.", "Oh!", "We were on a break"]
    scored = [
        " i told you so, ross.",  # exact
        "OH!",  # exact, too short to be near
        "I told you, Ross!",  # 4 of 5 words
        "We were on a boat trip",  # 4 of 7
        "oh",
    ]
    assert KnownTexts(train).count_duplicates(scored) == Duplicates(utterances=5, exact=2, long=3, near=2)
    assert KnownTexts([]).count_duplicates(scored) == Duplicates(5, 0, 3, 0)
    assert KnownTexts(train).count_duplicates([]) == Duplicates(0, 0, 0, 0)


def test_three_of_five_words_are_near() -> None:
    assert KnownTexts(["a b c e"]).count_duplicates(["a b c d"]).near == 1  # 3 of 5: 0.6
    assert KnownTexts(["a b c f"]).count_duplicates(["a b c d e"]).near == 0  # 3 of 6


def test_inertia_by_hand() -> None:
    turns = (
        (0, "", "sad"),
        (1, "", "sad"),
        (0, "", "sad"),
        (0, "", "mad"),
        (1, "", "mad"),
        (0, "", "mad"),
        (2, "", "sad"),
    )
    # The same speaker's: =, not, not, =. The turn before: =, =, not, =, =, not; a new dialogue begins anew.
    assert measure_inertia([dialogue(*turns), dialogue((0, "", "sad"))]) == Inertia(2 / 4, 4 / 6)
    assert measure_inertia([dialogue((0, "", "sad"))]) == Inertia(None, None)


def test_shift_by_hand() -> None:
    train = [dialogue((0, "", "sad"), (0, "", "sad"), (0, "", "mad"), (0, "", "mad"))]
    test = [dialogue((0, "", "sad"), (0, "", "fear"))]
    shares = [share_labels(of_split, ("sad", "mad", "fear")) for of_split in (train, test)]
    assert shares == [{"sad": 0.5, "mad": 0.5, "fear": 0.0}, {"sad": 0.5, "mad": 0.0, "fear": 0.5}]
    assert total_variation(*shares) == 0.5 and total_variation(shares[0], shares[0]) == 0


def labelled(labels: list[str], said: str = "{} is said here") -> list[Dialogue]:
    """Dialogues of ten turns, all different."""
    turns = [(0, said.format(number), label) for number, label in enumerate(labels)]
    return [dialogue(*turns[start : start + 10]) for start in range(0, len(turns), 10)]


def test_agreement_by_hand() -> None:
    """In unified labels: MELD's surprise is powerful, angry mad; EmoryNLP's Mad is mad."""
    ours = ["surprise", "angry", "neutral", "joyful"] * 10
    theirs = ["Powerful", "Mad", "Neutral", "Sad"] * 10
    twice = dialogue((0, "0 is said here", "angry"), (0, "0 is said here", "sad"), (0, "1 is said here", "angry"))
    alone = dialogue((0, "1 is said here", "sad"), (0, "It shares one turn.", "sad"))
    expected = (0.75 - 3 / 16) / (1 - 3 / 16)  # of the forty alone: each label a quarter, three in common
    assert measure_agreement(MELD, labelled(ours), EMORY, labelled(theirs)) == Agreement(
        40, 0.75, pytest.approx(expected)
    )
    # `twice` shares a scene with the first dialogue, and one turn that it has once; `alone` shares no scene.
    found = measure_agreement(MELD, [*labelled(ours), twice, alone], EMORY, labelled(theirs))
    assert found is not None and (found.turns, found.raw) == (41, pytest.approx(31 / 41))
    half = dialogue((0, "0 is said here", "angry"), (0, "0 is said here", None), (0, "1 is said here", "angry"))
    assert measure_agreement(MELD, [*labelled(ours), half, alone], EMORY, labelled(theirs)) == found, "nor with a label"


def test_of_one_label_there_is_no_kappa() -> None:
    """Its chance agreement is whole: 0 / 0 had come out as NaN, which is no JSON."""
    same = {"train": labelled(["angry"] * LEAST_TURNS), "valid": [], "test": []}
    found = audit({"meld": same, "iemocap": same})
    assert found.agreement[0].found == Agreement(LEAST_TURNS, 1.0, None)
    assert f"| {LEAST_TURNS} | 100.0% | - |" in render_findings(found)


def test_few_shared_turns_say_nothing() -> None:
    labels = ["angry"] * (LEAST_TURNS - 1)
    assert measure_agreement(MELD, labelled(labels), MELD, labelled(labels)) is None
    labels = ["angry", "sad"] * LEAST_TURNS
    other = labelled(["angry", "sad"] * LEAST_TURNS, "{} means something else")
    assert measure_agreement(MELD, labelled(labels), MELD, other) is None


def test_recordings_are_told_apart_and_every_train_is_looked_at() -> None:
    played = dialogue((0, "Where is the letter?", "sad"), name="Ses05F_script01_1")
    spoken = dialogue((0, "What do you want?", "sad"), name="Ses05F_impro01")
    iemocap = {"train": [dialogue((0, "Where was the letter?", "sad"))], "valid": [spoken], "test": [spoken, played]}
    found = audit({"iemocap": iemocap, "meld": {"train": [spoken], "valid": [], "test": []}})
    counted = {(one.split, one.recording, one.train): one.found for one in found.repeated if one.dataset == "iemocap"}
    assert counted["test", "scripted", "iemocap"] == Duplicates(1, 0, 1, 1)
    assert counted["test", "improvised", "iemocap"] == Duplicates(1, 0, 1, 0)
    assert counted["test", None, "meld"] == Duplicates(2, 1, 2, 1)
    assert ("valid", "scripted", "iemocap") not in counted
    assert {one.recording for one in found.repeated if one.dataset == "meld"} == {None}
    assert "| iemocap test, scripted | 1 | 0, 0.0%; near 100.0% | 0, 0.0%; near 0.0% |" in render_findings(found)
    assert Repeated("meld", "test", None, "meld", Duplicates(0, 0, 0, 0)) in found.repeated


# The command

Run = Callable[..., CompletedProcess[str]]


def test_it_prints_writes_and_fills_a_page(run_code: Run, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("above\n<!-- audit: begin -->\nold\n<!-- audit: end -->\nbelow\n", encoding="utf-8")
    result = run_code("code/audit.py", "--json", tmp_path / "audit.json", "--output", page)
    assert (result.returncode, result.stderr) == (0, "")
    shown = f"above\n<!-- audit: begin -->\n{result.stdout}<!-- audit: end -->\nbelow\n"
    assert page.read_text(encoding="utf-8") == shown
    assert "| sample test | 116 | 18, 15.5%; near 2.0% |" in result.stdout
    content = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert content["repeated"][1]["found"] == {"utterances": 116, "exact": 18, "long": 99, "near": 2}
    assert [one["split"] for one in content["labels"]] == ["train", "valid", "test"]


def test_no_text_of_a_corpus_is_told(tmp_path: Path) -> None:
    result = call_script(script.main, "--json", tmp_path / "audit.json")
    told = result.stdout + (tmp_path / "audit.json").read_text(encoding="utf-8")
    sample = load_dialogues("sample", find_repository() / "original_data")
    texts = {one.text for of_split in sample.values() for of_one in of_split for one in of_one.utterances}
    assert result.returncode == 0 and len(texts) > 500
    assert not [text for text in texts if len(text) > 12 and text in told]


def test_what_cannot_be_done_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    def run(*flags: object) -> CompletedProcess[str]:
        return call_script(script.main, *flags)

    page = tmp_path / "page.md"
    page.write_text("no marks\n", encoding="utf-8")
    flags = ("--json", tmp_path / "audit.json", "--output", page)
    assert_one_line_error(run(*flags), f"{page} has no section between the lines <!-- audit")
    assert_one_line_error(run("--output", tmp_path / "none.md"), "none.md: No such file")
    missing = run("--datasets", "sample,meld", "--original_data", tmp_path)
    assert_one_line_error(missing, f"no pickle of sample: looked for {tmp_path}/sample/sample.pkl")
    assert_one_line_error(run("--datasets", "friends"), "--datasets: 'friends' is not allowed")
    assert [path.name for path in tmp_path.iterdir()] == ["page.md"]


@pytest.fixture(scope="module")
def published(original_data: Path) -> str:
    """The tables of the three published sets."""
    result = call_script(script.main, "--datasets", ",".join(SETS), "--original_data", original_data)
    assert result.returncode == 0, result.stderr
    return result.stdout.removesuffix("\n")


@pytest.mark.real_data
def test_the_page_of_the_data_shows_what_is_found(published: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert replace_section(page, published, marks=script.MARKS) == page, "audit.py --output writes it anew"


@pytest.mark.real_data
@pytest.mark.parametrize(
    "told",
    [
        "| iemocap test | 1623 | 284, 17.5%;",
        "| iemocap test, scripted | 684 | 170, 24.9%; near 73.8% |",
        "| meld test | 2610 | 129, 4.9%; near 3.8% | 328, 12.6%;",
        "| EmoryNLP test | 984 | 94, 9.6%; near 4.3% | 232, 23.6%; near 25.8% | 168, 17.1%;",
        "| meld test | 0 of 257; share 0 | 1 of 257; share 2 | 50 of 257; share 64 |",
        "| meld, EmoryNLP | 1882 | 37.4% | 0.22 |",
    ],
)
def test_what_other_code_counted_is_found(published: str, told: str) -> None:
    """By 74% of the longer scripted turns, and 284, 328 and 168 texts of their own train, as reviewed."""
    assert told in published
