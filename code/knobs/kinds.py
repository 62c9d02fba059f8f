"""The kinds of values that a knob may have, and how a text is checked and read as one. Looks at no files."""

import argparse
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from basics.argument_parsing import true_or_false
from data_utils.corpora.places import NAME
from data_utils.labels import DATASETS as CORPORA


@dataclass(frozen=True)
class Kind:
    """Values of one kind.

    meaning: the advice of an error: 'give a whole number, 0 or more'. pattern: a regular expression for the whole text.
    type: of the value. choices: the texts that are allowed, where they can be listed. many: several of them may be
    given, joined by commas, each once. further: a pattern of texts that are allowed beside the choices. most: the
    greatest number. path: whether a value is a path as the caller writes it.
    """

    meaning: str
    pattern: str = r"(?s:.*)"
    type: type = str
    choices: tuple[str, ...] = ()
    many: bool = False
    further: re.Pattern[str] | None = None
    most: float = math.inf
    path: bool = False

    def fits(self, text: str) -> bool:
        """Whether a text is allowed."""
        if self.many:
            words = text.split(",")
            return all(map(self._is_choice, words)) and len(set(words)) == len(words)
        if self.choices:
            return self._is_choice(text)
        return bool(re.fullmatch(self.pattern, text)) and (self.type is str or self.type(text) <= self.most)

    def _is_choice(self, word: str) -> bool:
        return word in self.choices or bool(self.further and self.further.fullmatch(word))

    def value(self, text: str) -> Any:
        """The value of a text that is allowed."""
        if self.many:
            return tuple(text.split(","))
        return text == "True" if self.type is bool else self.type(text)

    def spell(self, text: str, usual: str | None) -> str:
        """A number in one spelling: that of the default `usual`, if it is the same, else Python's. Others stay."""
        if self.type is not float or not self.fits(text):
            return text
        number = float(text)
        return usual if usual and number == float(usual) else repr(number).removesuffix(".0")

    @property
    def reader(self) -> Callable[[str], Any]:
        """The `type` for argparse: text -> value; ArgumentTypeError for a text that is not allowed."""
        return true_or_false if self.type is bool else self._read

    def _read(self, text: str) -> Any:
        if not self.fits(text):
            raise argparse.ArgumentTypeError(f"{text!r} is not allowed, {self.meaning}")
        return self.value(text)


def one_of(*choices: str) -> Kind:
    """The kind of a closed set of words."""
    return Kind(f"choose one of {' '.join(choices)}", choices=choices)


YES_NO = Kind("choose one of False True", type=bool, choices=("False", "True"))
WHOLE = Kind("give a whole number, 0 or more", r"0|[1-9][0-9]{0,8}", int)
COUNT = Kind("give a whole number, 1 or more", r"[1-9][0-9]{0,8}", int)
SEED = Kind("give a whole number from 0 to 4294967295", r"0|[1-9][0-9]{0,9}", int, most=2**32 - 1)
_DECIMAL = r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]{1,2})?"
NUMBER = Kind("give a number, 0 or more, with an exponent of two digits at most", _DECIMAL, float)
POSITIVE = Kind("give a number above 0, with an exponent of two digits at most", rf"(?=[0-9.]*[1-9]){_DECIMAL}", float)
FRACTION = Kind("give a number above 0 and up to 1", rf"(?=[0-9.]*[1-9]){_DECIMAL}", float, most=1)
SHARE = Kind("give a number from 0 to below 1", _DECIMAL, float, most=math.nextafter(1, 0))
PART = Kind("give a number from 0 to 1", _DECIMAL, float, most=1)
_NAME = r"(?!(all|auto)(,|$))[A-Za-z0-9_.]+"
NAMES = Kind("give names joined by commas, or all or auto alone", rf"all|auto|{_NAME}(,{_NAME})*")
_REPORT = "(tensorboard|wandb|mlflow)"
_NOT_TWICE = r"(?!.*\b(\w+),(.*,)?\1(,|$))"
REPORTS = Kind(
    "give each of tensorboard wandb mlflow at most once, joined by commas, or none",
    rf"none|{_NOT_TWICE}{_REPORT}(,{_REPORT})*",
)
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
TEXT = Kind("give a text")
# Whether such a value is there on disk, knobs.checks looks.
FILE = Kind("there is no such file", path=True)
FOLDER = Kind("there is no such folder", path=True)
PROGRAM = Kind("there is no such program", path=True)
CHECKPOINT = Kind("give the folder of a model or an adapter", path=True)
BASE, ENCODER = Kind("give a base"), Kind("give an encoder")
# Names of corpora of one's own are allowed too; whether there is such a corpus, knobs.checks looks.
_OWN = "or a corpus of your own"


def dataset_of(*names: str) -> Kind:
    """The kind whose values are these names, or the name of a corpus of one's own."""
    return Kind(f"choose one of {' '.join(names)}, {_OWN}", choices=names, further=NAME)


DATASET = dataset_of(*CORPORA)
DATASETS = Kind(
    f"give each of {' '.join(CORPORA)}, {_OWN}, at most once, joined by commas, and at least one",
    choices=tuple(CORPORA),
    many=True,
    further=NAME,
)
