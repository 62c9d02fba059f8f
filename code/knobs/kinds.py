"""What a knob may be set to: kinds of values, each with its words, its reader and its choices. Text, no files."""

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

    meaning: what to give, in words. pattern: the texts that fit, whole. type: of the value that a text stands for.
    choices: all texts that fit, where they can be listed. many: several of them fit too, each once, joined by
    commas. further: what else fits, beside the choices. most: the greatest number. path: whether a value is a path of
    the caller's.
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
        """Whether a text is of this kind."""
        if self.many:
            words = text.split(",")
            return all(map(self._is_choice, words)) and len(set(words)) == len(words)
        if self.choices:
            return self._is_choice(text)
        return bool(re.fullmatch(self.pattern, text)) and (self.type is str or self.type(text) <= self.most)

    def _is_choice(self, word: str) -> bool:
        return word in self.choices or bool(self.further and self.further.fullmatch(word))

    def value(self, text: str) -> Any:
        """What a text that fits stands for."""
        if self.many:
            return tuple(text.split(","))
        return text == "True" if self.type is bool else self.type(text)

    @property
    def reader(self) -> Callable[[str], Any]:
        """The reader of a command line's texts; what does not fit is an ArgumentTypeError."""
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
NAMES = Kind("give names joined by commas, all or auto", r"[A-Za-z0-9_.]+(,[A-Za-z0-9_.]+)*")
_REPORT = "(tensorboard|wandb|mlflow)"
REPORTS = Kind("give of tensorboard wandb mlflow, joined by commas, or none", rf"none|{_REPORT}(,{_REPORT})*")
HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")
TEXT = Kind("give a text")
# Whether these fit depends on the disk too: knobs.checks looks.
FILE = Kind("there is no such file", path=True)
FOLDER = Kind("there is no such folder", path=True)
PROGRAM = Kind("there is no such program", path=True)
CHECKPOINT = Kind("give the folder of a model or an adapter", path=True)
BASE, ENCODER = Kind("give a base"), Kind("give an encoder")
# Of a corpus of one's own too; whether there is one of the name knobs.checks looks.
_OWN = "or a corpus of your own"


def dataset_of(*names: str) -> Kind:
    """The kind of these datasets and corpora of one's own."""
    return Kind(f"choose one of {' '.join(names)}, {_OWN}", choices=names, further=NAME)


DATASET = dataset_of(*CORPORA)
DATASETS = Kind(
    f"give each of {' '.join(CORPORA)}, {_OWN}, at most once, joined by commas, and at least one",
    choices=tuple(CORPORA),
    many=True,
    further=NAME,
)
