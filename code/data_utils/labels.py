"""What is known of each dataset beforehand: labels, pickle layout, speakers, sizes. Data, no logic.

Sources: arXiv 2309.11911 (InstructERC), its released scripts, and the COSMIC pickles they read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

SPLITS = ("train", "valid", "test")

NEUTRAL = "neutral"
INVALID = "invalid"  # what tables call an answer without a label
WEIGHTED_F1 = "weighted_f1"
MICRO_F1_WITHOUT = "micro_f1_without_"  # and the label that is left out
MICRO_F1_WITHOUT_NEUTRAL = MICRO_F1_WITHOUT + NEUTRAL

# How the speakers slot of a pickle names a speaker.
LETTERS = "letters"  # 'M' -> 0, 'F' -> 1
ONE_HOT = "one_hot"  # a row with a single 1; its index is the speaker
ZERO_OR_OTHER = "zero_or_other"  # '0' -> 0, any other text -> 1

SIX_SLOTS = ("speakers", "labels", "sentences", "train", "test", "valid")
SEVEN_SLOTS = ("speakers", "labels", "sentiments", "sentences", "train", "test", "valid")


@dataclass(frozen=True)
class SplitCounts:
    """Size of one split: numbers of dialogues, of utterances with a label, and of these by label, in label order."""

    dialogues: int
    utterances: int
    per_label: tuple[int, ...]


@dataclass(frozen=True)
class PublishedFile:
    """The pickle of a dataset as the method's authors pass it on.

    path: below original_data, here and in their repository. cosmic_path: below COSMIC's features, which anybody may
    download; None: it is not among them, and its owners have to be asked.
    """

    path: str
    size_bytes: int
    sha256: str
    cosmic_path: str | None = None


@dataclass(frozen=True)
class DatasetSpec:
    """One dataset: how its pickle is read and how its rows are asked and scored.

    labels: index -> emotion, also the order in which a prompt lists them.
    slots: meaning of each place of the pickled list; none: it is a corpus of one's own, in files (`corpora`).
    speakers: how many speakers the speaker prompt offers, `Speaker_0` first.
    max_length: prompt and target in tokens, as in the released scripts.
    expected: split -> its size; empty where no release is fixed.
    metric: the headline score, WEIGHTED_F1 or MICRO_F1_WITHOUT and a label.
    speaker_encoding: LETTERS, ONE_HOT or ZERO_OR_OTHER.
    unified: index -> unified label; none: it cannot be mixed with others.
    speaker_offset: added to its speaker numbers where sets are mixed.
    neutral: which of the labels stands for no emotion; None: none of them.
    published: its pickle, None where no release is known by its SHA-256. licence: as its owner states it.
    about: what it is of, in a few words.
    """

    name: str
    labels: tuple[str, ...]
    slots: tuple[str, ...]
    speakers: int
    max_length: int
    expected: Mapping[str, SplitCounts]
    metric: str
    speaker_encoding: str
    unified: tuple[str, ...] = ()
    speaker_offset: int = 0
    neutral: str | None = NEUTRAL
    published: PublishedFile | None = None
    licence: str = ""
    about: str = ""

    @property
    def unified_labels(self) -> Mapping[str, str]:
        """Own label -> unified label."""
        return dict(zip(self.labels, self.unified, strict=bool(self.unified)))


# Unified labels and speaker offsets are the paper's, but for those of sample and dailydialog, which are ours.
_MELD_LABELS = ("neutral", "surprise", "fear", "sad", "joyful", "disgust", "angry")
_MELD_UNIFIED = ("neutral", "powerful", "fear", "sad", "joyful", "disgust", "mad")

_SAMPLE = DatasetSpec(
    name="sample",
    about="small conversations that a language model wrote and labelled",
    labels=_MELD_LABELS,
    slots=SEVEN_SLOTS,
    speakers=9,
    max_length=1024,
    expected=MappingProxyType(
        {
            "train": SplitCounts(40, 431, (191, 48, 16, 36, 82, 13, 45)),
            "valid": SplitCounts(10, 111, (49, 11, 4, 9, 23, 3, 12)),
            "test": SplitCounts(10, 116, (50, 14, 4, 11, 19, 4, 14)),
        }
    ),
    metric=WEIGHTED_F1,
    speaker_encoding=ONE_HOT,
    unified=_MELD_UNIFIED,
    speaker_offset=21,
)

_IEMOCAP = DatasetSpec(
    name="iemocap",
    about="acted and improvised dialogues of two",
    labels=("happy", "sad", "neutral", "angry", "excited", "frustrated"),
    slots=SIX_SLOTS,
    speakers=2,
    max_length=1200,
    expected=MappingProxyType(
        {
            "train": SplitCounts(108, 5163, (451, 771, 1221, 831, 593, 1296)),
            "valid": SplitCounts(12, 647, (53, 68, 103, 102, 149, 172)),
            "test": SplitCounts(31, 1623, (144, 245, 384, 170, 299, 381)),
        }
    ),
    metric=WEIGHTED_F1,
    speaker_encoding=LETTERS,
    unified=("joyful", "sad", "neutral", "mad", "excited", "fear"),
    published=PublishedFile(
        path="iemocap/iemocap.pkl",
        size_bytes=512358,
        sha256="85f15be1fbd8678e0dd443a11ac609615f0e990cc0ca1551fdf86f98b9e6067f",
    ),
)

_MELD = DatasetSpec(
    name="meld",
    about="scenes of the series Friends",
    labels=_MELD_LABELS,
    slots=SEVEN_SLOTS,
    speakers=9,
    max_length=1024,
    expected=MappingProxyType(
        {
            "train": SplitCounts(1038, 9989, (4710, 1205, 268, 683, 1743, 271, 1109)),
            "valid": SplitCounts(114, 1109, (470, 150, 40, 111, 163, 22, 153)),
            "test": SplitCounts(280, 2610, (1256, 281, 50, 208, 402, 68, 345)),
        }
    ),
    metric=WEIGHTED_F1,
    speaker_encoding=ONE_HOT,
    unified=_MELD_UNIFIED,
    speaker_offset=2,
    licence="GPL-3.0; the series has a rights holder of its own",
    published=PublishedFile(
        path="meld/meld.pkl",
        cosmic_path="meld/meld.pkl",
        size_bytes=999031,
        sha256="3713dab8c0b1d3ae4bb40251599fc6aff687cad1c2468e2f4b50554705a260f8",
    ),
)

_EMORYNLP = DatasetSpec(
    name="EmoryNLP",
    about="scenes of the series Friends",
    labels=("Joyful", "Mad", "Peaceful", "Neutral", "Sad", "Powerful", "Scared"),
    slots=SIX_SLOTS,
    speakers=9,
    max_length=1024,
    expected=MappingProxyType(
        {
            "train": SplitCounts(659, 7551, (1677, 785, 638, 2485, 474, 551, 941)),
            "valid": SplitCounts(89, 954, (205, 97, 82, 322, 51, 70, 127)),
            "test": SplitCounts(79, 984, (217, 86, 111, 288, 70, 96, 116)),
        }
    ),
    metric=WEIGHTED_F1,
    speaker_encoding=ONE_HOT,
    unified=("joyful", "mad", "peaceful", "neutral", "sad", "powerful", "fear"),
    speaker_offset=10,
    neutral="Neutral",
    licence="Apache-2.0; the series has a rights holder of its own",
    published=PublishedFile(
        path="EmoryNLP/EmoryNLP.pkl",
        cosmic_path="emorynlp/emorynlp.pkl",
        size_bytes=1770289,
        sha256="047b493e1c399374c3075d1defb33b094c887d1198feb463e9e645de20550a77",
    ),
)

_DAILYDIALOG = DatasetSpec(
    name="dailydialog",
    about="everyday English dialogues",
    labels=("happy", "neutral", "angry", "sad", "fear", "surprise", "disgust"),
    slots=SIX_SLOTS,
    speakers=9,
    max_length=1024,
    expected=MappingProxyType(
        {
            "train": SplitCounts(11118, 87170, (11182, 72143, 827, 969, 146, 1600, 303)),
            "valid": SplitCounts(1000, 8069, (684, 7108, 77, 79, 11, 107, 3)),
            "test": SplitCounts(1000, 7740, (1019, 6321, 118, 102, 17, 116, 47)),
        }
    ),
    metric=MICRO_F1_WITHOUT_NEUTRAL,
    speaker_encoding=ZERO_OR_OTHER,
    unified=("joyful", "neutral", "mad", "sad", "fear", "powerful", "disgust"),
    speaker_offset=19,
)

DATASETS: Mapping[str, DatasetSpec] = MappingProxyType(
    {spec.name: spec for spec in (_SAMPLE, _IEMOCAP, _MELD, _EMORYNLP, _DAILYDIALOG)}
)

# The labels that mixed sets share: the feeling wheel of the paper.
UNIFIED_PROMPT_LABELS = (
    "joyful",
    "sad",
    "neutral",
    "mad",
    "excited",
    "fear",
    "disgust",
    "peaceful",
    "powerful",
)

# The first speaker number of corpora of one's own in a mix: above those of the datasets.
OWN_SPEAKER_OFFSET = 30
OWN_MAX_LENGTH = 1024

# The mixed sets as one: rows of several datasets, all in the unified labels. It has no pickle of its own.
UNIFIED = DatasetSpec(
    name="unified",
    labels=UNIFIED_PROMPT_LABELS,
    slots=(),
    speakers=0,
    max_length=1200,
    expected=MappingProxyType({}),
    metric=WEIGHTED_F1,
    speaker_encoding="",
    unified=UNIFIED_PROMPT_LABELS,
)

# What the rows of a folder can be of: one dataset, or the mix of several.
ROW_SETS: Mapping[str, DatasetSpec] = MappingProxyType({**DATASETS, UNIFIED.name: UNIFIED})
