"""The environment of a script -> the settings of one experiment, or everything that is wrong with them at once."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bases.table import BASES, ENCODERS, NAME_OF_HUB_ID, PRECISIONS
from data_utils.corpora.places import SMALL_TRAIN, find_corpus
from data_utils.corpora.sizes import has_small_train
from knobs.checks import STAGES, Place, check_value, find_conflicts, is_own_folder
from knobs.kinds import BASE, ENCODER, PROGRAM
from knobs.knob import NOTHING, Knob
from knobs.readers import Reader
from knobs.table import KNOBS

# Knobs that count as unset when they are set to an empty text.
UNSET_BY_NOTHING = ("ERC_ORIGINAL_DATA", "ERC_PYTHON", "ERC_TORCH", "HOSTFILE", "NPROC", "train_on")
# A variable of predict.py and the page: no knob of an experiment.
READ_ELSEWHERE = ("ERC_CHECKPOINT",)
LONG_WORD = 7  # letters; shorter names resemble other words too easily
SIMILAR = 0.9


@dataclass(frozen=True)
class Settings:
    """One experiment as asked for: a kind of rows, and a value for every knob.

    values: knob -> text; None: not set, and without a default. Paths are relative to the repository. base: its name in
    the table, see `name_of_base`. given: the knobs that were set. small_train: see `has_small_train`.
    """

    rows: str
    values: Mapping[str, str | None]
    base: str
    place: Place
    given: frozenset[str] = frozenset()
    small_train: bool = False

    def __getitem__(self, name: str) -> str:
        return self.values[name] or ""

    def is_read(self, reader: Reader) -> bool:
        """Whether the program of a reader reads its knobs under these settings."""
        return is_read(reader, self.rows, self.values)

    def usual(self, name: str) -> str | None:
        """The default of a knob for this dataset, base, setting and kind of rows."""
        return find_default(KNOBS[name], self.rows, self.values, self.base, self.small_train)

    @property
    def stages(self) -> str:
        """The knob that splits the experiment into several runs, such as 'mode=sequence'; empty: it is one run."""
        name, value = STAGES.get(self.rows, ("", ""))
        return f"{name}={value}" if name and self[name] == value else ""

    @property
    def changed(self) -> dict[str, str]:
        """The knobs that decide the result and differ from their defaults, in the order of the table."""
        read = (knob for knob in KNOBS.values() if knob.suffix and any(map(self.is_read, knob.readers)))
        return {knob.name: self[knob.name] for knob in read if self.values[knob.name] != self.usual(knob.name)}


def find_default(
    knob: Knob, rows: str, values: Mapping[str, str | None], base: str, small_train: bool = False
) -> str | None:
    """The default of a knob, as its most specific recipe has it; the knob's own where no recipe applies.

    First those of the base together with the setting, a small train, or the kind of rows; then those of the rows, the
    base, the dataset, and the setting alone. base: some have the recipes of another, which their row of the table
    names. small_train: see `has_small_train`.
    """
    base = (BASES[base].recipe or base) if base in BASES else base
    setting, dataset = values.get("Experiments_setting"), values.get("dataset")
    size = SMALL_TRAIN if small_train else ""
    words = (f"{base} {setting}", f"{base} {size}", f"{base} {rows}", rows, base, dataset, setting)
    return next((knob.recipes[word] for word in words if word in knob.recipes), knob.default)


def is_read(reader: Reader, rows: str, values: Mapping[str, str | None]) -> bool:
    """Whether a reader reads its knobs for these rows and values; under an unknown Experiments_setting any does."""
    setting = values["Experiments_setting"]
    known = setting in KNOBS["Experiments_setting"].kind.choices
    name, _, wanted = reader.under.partition("=")
    if rows not in reader.rows or (known and setting not in reader.settings):
        return False
    return not name or values.get(name) in wanted.split(" or ")


def read_settings(rows: str, environment: Mapping[str, str], place: Place) -> tuple[Settings, list[str]]:
    """(settings, problems: one line each) from the environment of a script.

    rows: the script's kind: WINDOW, PLAIN or MIXED. environment: of the caller; variables that are no knobs are
    ignored, unless one looks like a misspelt knob.
    """
    given, problems = _given_knobs(environment)
    values: dict[str, str | None] = {}
    for name in ("MODEL_NAME", "Experiments_setting", "dataset"):  # the defaults of the others depend on these
        values[name] = given.get(name, KNOBS[name].recipes.get(rows, KNOBS[name].default))
    base = name_of_base(values["MODEL_NAME"] or "", place)
    small = _has_small_train(values["dataset"] or "", given.get("ERC_ORIGINAL_DATA"), place)
    for knob in KNOBS.values():
        usual = find_default(knob, rows, values, base, small)
        values.setdefault(knob.name, knob.kind.spell(given[knob.name], usual) if knob.name in given else usual)
    settings = Settings(rows, values, base, place, small_train=small)
    for knob in KNOBS.values():
        problems += _find_problems(knob, settings, knob.name in given)
    problems += [f"{name}={values[name] or ''}: {why}" for name, why in find_conflicts(values, rows)]
    problems += _find_overflow(base, values["precision"] or "")
    problems += find_misspelt(environment)
    paths = {knob.name: _from_repository(knob, values[knob.name], place) for knob in KNOBS.values()}
    return Settings(rows, paths, base, place, frozenset(given), small), problems


def _has_small_train(dataset: str, elsewhere: str | None, place: Place) -> bool:
    folders = place.corpora(elsewhere)
    return has_small_train(dataset, next((one for one in folders if find_corpus(dataset, one)), folders[-1]))


def name_of_base(base: str, place: Place) -> str:
    """The name of a base in the table, also where it is given by hub id; else the last part of its hub id or path."""
    named = NAME_OF_HUB_ID.get(base)
    if named is None and is_own_folder(base, place):
        return place.of_caller(base).resolve().name
    return named or base.rpartition("/")[2]


def _find_overflow(base: str, precision: str) -> list[str]:
    """A line where the base is known to overflow in this precision; else none."""
    row = BASES.get(base)
    if row is None or precision not in PRECISIONS or precision in row.precisions:
        return []
    return [f"precision={precision}: {base} overflows in it; choose auto {' '.join(row.precisions)}"]


def _given_knobs(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """(knob -> text of those that are set, a line for each that is set under two names to two values)."""
    names = [name for name in KNOBS if name in environment]
    given = {name: environment[name] for name in names if environment[name] or name not in UNSET_BY_NOTHING}
    problems = []
    for name, also in ((knob.name, knob.also) for knob in KNOBS.values()):
        if not also or not environment.get(also):
            continue
        if given.setdefault(name, environment[also]) != environment[also]:
            other = f"{name}={given[name]} is the same knob and says otherwise; set one of them"
            problems.append(f"{also}={environment[also]}: {other}")
    return given, problems


def _find_problems(knob: Knob, settings: Settings, is_given: bool) -> list[str]:
    """What is wrong with the value of one knob, a line each; `find_conflicts` compares knobs with each other."""
    value = settings.values[knob.name]
    if not is_given or value is None:
        return []
    if not any(map(settings.is_read, knob.readers)):
        return [] if value == settings.usual(knob.name) else [f"{knob.name}={value}: {why_unread(knob, settings)}"]
    found = check_value(knob, value, settings.values, settings.rows, settings.place)
    return [f"{knob.name}={value}: {why}" for why in found]


def why_unread(knob: Knob, settings: Settings) -> str:
    """Why a knob is not read: another knob that it depends on is not set so, or these rows or setting do not use it."""
    missing = [reader.under for reader in knob.readers if settings.is_read(replace(reader, under=""))]
    if missing:
        return f"only {missing[0]} reads it"
    return f"Experiments_setting={settings['Experiments_setting']} on {settings.rows} rows has no use for it"


def _from_repository(knob: Knob, value: str | None, place: Place) -> str | None:
    """A path of the caller's made relative to the repository, where the commands run; other values stay.

    So that a run has one name: without what does not change where a path leads, and an encoder by its name.
    """
    if knob.kind is ENCODER and not is_own_folder(value or "", place, ENCODERS):
        value = next((row.name for row in ENCODERS.values() if row.hub_id == value), value)
    is_path = (
        (knob.kind.path and knob.kind is not PROGRAM)
        or (knob.kind is PROGRAM and "/" in (value or ""))
        or (knob.kind is BASE and is_own_folder(value or "", place))
        or (knob.kind is ENCODER and is_own_folder(value or "", place, ENCODERS))
    )
    if not value or value == NOTHING or not is_path:
        return value
    path = _written_once(value if value.startswith("/") else f"{place.caller}/{value}")
    if path == str(place.repository):
        return "."
    called = path.removeprefix(f"{place.repository}/")
    if knob.kind is ENCODER and called in {f"LLM_bases/{name}" for name in ENCODERS}:
        return called.removeprefix("LLM_bases/")
    # What is called by its bare name is looked for elsewhere: a program in $PATH, an encoder of the table in LLM_bases.
    is_bare = (knob.kind is PROGRAM and "/" not in called) or (knob.kind is ENCODER and called in ENCODERS)
    return f"./{called}" if is_bare else called


def _written_once(path: str) -> str:
    """A path without needless slashes and dots; two dots behind a link stay, as they lead elsewhere than they seem."""
    path = f"/{path.lstrip('/')}"  # of two slashes in front normpath leaves both
    plain = os.path.normpath(path)
    return plain if os.path.realpath(plain) == os.path.realpath(path) else path


def find_misspelt(environment: Mapping[str, str]) -> list[str]:
    """One line for every variable that is no knob but looks like a misspelt one.

    By convention variables of the system and of other programs have capital letters, and most knobs small ones. A
    variable of another program must not stop a run: CFLAGS is no FLAG, and MODE or SEED may be of any program.
    """
    names = {word: knob.name for knob in KNOBS.values() for word in (knob.name, *knob.guesses)}
    others = {knob.also for knob in KNOBS.values()} | {*READ_ELSEWHERE}
    found = []
    for name in sorted(environment.keys() - KNOBS.keys() - others):
        alike = [word for word in names if _is_same_word(name, word)]
        alike = alike or [knob for knob in KNOBS if _is_misspelt(name, knob)]
        if alike:
            meant = " or ".join(dict.fromkeys(names[word] for word in alike))
            found.append(f"{name}={environment[name]}: no setting is called so; did you mean {meant}?")
    return found


def _is_same_word(name: str, word: str) -> bool:
    """Whether two names differ only in case and underscores; not for a short one in capitals, see `find_misspelt`."""
    if name.replace("_", "").casefold() != word.replace("_", "").casefold():
        return False
    return not name.isupper() or word.isupper() or len(name) >= LONG_WORD


def _is_misspelt(name: str, knob: str) -> bool:
    """Whether a name is nearly a knob's; of names in capitals only one that begins with ERC_ can be."""
    if name[:1] != knob[:1] or (name.isupper() and not name.startswith("ERC_")):
        return False
    if len(name) < LONG_WORD:
        return name in (f"{knob}s", *_with_two_letters_swapped(knob))
    alike = difflib.SequenceMatcher(None, name, knob).ratio()
    return alike >= SIMILAR or name in _with_two_letters_swapped(knob)


def _with_two_letters_swapped(word: str) -> set[str]:
    return {word[:at] + word[at + 1] + word[at] + word[at + 2 :] for at in range(len(word) - 1)}
