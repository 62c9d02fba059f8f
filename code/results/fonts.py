"""Fonts for what a figure's own font cannot write, such as labels in Chinese: of this machine those that can."""

import sys
from collections.abc import Sequence
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, findfont, fontManager, weight_dict
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text

OWN = "DejaVu Sans"  # comes with matplotlib, and is what it writes with unless told otherwise


def give_fonts(figure: Figure) -> None:
    """Let texts of the figure take letters that OWN lacks from other fonts; where none has them, tell so on stderr."""
    texts = figure.findobj(Text)
    letters = {letter for text in texts for letter in text.get_text() if letter.isprintable()}
    lacking = frozenset(letters - _letters_of(findfont(OWN)))
    if lacking:
        families = [OWN, *_find_fonts(lacking)]
        for text in texts:
            text.set_fontfamily(families)


@cache
def _find_fonts(letters: frozenset[str]) -> Sequence[str]:
    """Families that have the letters between them, the one with most of them first."""
    # A "last resort" has every letter, as a box. Of a family the upright face of a weight nearest the usual is what
    # asking for it gives.
    faces = [font for font in fontManager.ttflist if font.style == "normal" and "last" not in font.name.lower()]
    fonts = {font.name: font.fname for font in sorted(faces, key=_from_usual, reverse=True)}
    having = {name: letters & _letters_of(fonts[name]) for name in sorted(fonts)}
    families, left = [], letters
    while had := [name for name in having if having[name] & left]:
        families.append(max(had, key=lambda name: len(having[name] & left)))
        left -= having[families[-1]]
    if left:
        told = "install one that has them, such as Noto Sans CJK for Chinese, Japanese and Korean"
        print(f"warning: no font here has {' '.join(sorted(left))}: figures show boxes there; {told}", file=sys.stderr)
    return families


def _from_usual(font: FontEntry) -> int:
    weight = weight_dict.get(font.weight, font.weight)
    return abs(int(weight) - weight_dict["normal"])


@cache
def _letters_of(file: str) -> frozenset[str]:
    """Empty where the file is damaged, or is gone since matplotlib looked for fonts."""
    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()
