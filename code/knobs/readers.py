"""Which program reads a setting, and under which conditions: kinds of rows, ways to train, other settings."""

from dataclasses import dataclass

ZERO_SHOT, LORA, ALL_PARAMETERS = "zero_shot", "lora", "all_parameters"
WINDOW, PLAIN, MIXED = "window", "plain", "mixed"
LABELS = "labels"  # of the knob `loss`
SCRIPT, WRITER, MAIN = "the script", "the row writer", "main_new.py"


@dataclass(frozen=True)
class Reader:
    """A program that reads a knob, and when it does.

    title: of the group of knobs in help and tables. program: SCRIPT uses it itself, WRITER and MAIN get it as a flag.
    rows: kinds of rows, settings: values of Experiments_setting with which it is read. under: `knob=value`, or
    `knob=value or another`, that it depends on; empty: on none.
    """

    title: str
    program: str
    rows: tuple[str, ...] = (WINDOW, PLAIN, MIXED)
    settings: tuple[str, ...] = (ZERO_SHOT, LORA, ALL_PARAMETERS)
    under: str = ""


_TRAINED = (LORA, ALL_PARAMETERS)
RUN = Reader("the run", SCRIPT)
ROWS = Reader("rows", WRITER)
HISTORY = Reader("rows", WRITER, (WINDOW, MIXED))
MODULES = Reader("modules", WRITER, (WINDOW,))
DEMONSTRATIONS = Reader("modules", WRITER, (WINDOW,), under="domain_base=True")
PAIRS = Reader("modules", WRITER, (WINDOW,), _TRAINED, under="domain_base=True")
FETCHED = Reader("modules", SCRIPT, (WINDOW,), under="domain_base=True")
SPEAKERS = Reader("modules", SCRIPT, (WINDOW,), _TRAINED, under="speaker_task=True")
SETS = Reader("several datasets", WRITER, (MIXED,))
# A draw of train matters where train is learned, mixed, or shown as demonstrations.
DRAWS = (
    Reader("rows", WRITER, (WINDOW, PLAIN), _TRAINED),
    Reader("rows", WRITER, (MIXED,)),
    Reader("rows", WRITER, (WINDOW,), (ZERO_SHOT,), under="domain_base=True"),
)
EVERY = Reader("tokens and scores", MAIN)
TREES = Reader("tokens and scores", MAIN, under="packing=tree")
SCORING = Reader("tokens and scores", MAIN, under="decode=score or transitions")
GENERATION = Reader("tokens and scores", MAIN, under="decode=generate")
TRAINING = Reader("training", MAIN, settings=_TRAINED)
COPYING = Reader("training", MAIN, (WINDOW,), _TRAINED, under="domain_base=True")
LABELS_LOSS = Reader("training", MAIN, settings=_TRAINED, under=f"loss={LABELS}")
PREDICTION = Reader("training", MAIN, (WINDOW,), _TRAINED, under="emotion_prediction=True")
ADAPTERS = Reader("adapters", MAIN, settings=(LORA,))
