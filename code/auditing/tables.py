"""What an audit found, as Markdown: a table for each question, and what its words mean."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from auditing.duplicates import NEAR, Duplicates
from auditing.findings import AnnotatedTwice, Findings, Repeated, SharedScenes, SplitLabels
from auditing.labels import LEAST_TURNS
from basics.markdown import render_table
from data_utils.scenes import SHARED_TURNS
from data_utils.texts import LONG_TURN

Row = TypeVar("Row", Repeated, SharedScenes)


def render_findings(findings: Findings) -> str:
    """All tables, with their definitions."""
    return "\n\n".join(_parts(findings))


def _parts(findings: Findings) -> Iterator[str]:
    command = f"python code/audit.py --datasets {','.join(findings.datasets)}"
    yield f"Found by `{command}`, in texts as they are and all of each train."
    yield (
        f"A text stands in a train where letter case and outer blanks are all that differs; *near* is the share of the "
        f"longer utterances ({LONG_TURN} distinct words or more) whose set of words has a Jaccard index of {NEAR} or "
        "more with that of an utterance there. Number of utterances, their share; near:"
    )
    yield render_table(("scored", "utterances", *_trains(findings)), _duplicate_rows(findings))
    yield (
        f"Dialogues half or more of whose longer turns stand in a train, word for word (case and punctuation aside), "
        f"of those that have {SHARED_TURNS} longer turns or more; *share*: dialogues of the split that have "
        f"{SHARED_TURNS} longer turns or more in common with one dialogue of that train:"
    )
    yield render_table(("scored", *_trains(findings)), _scene_rows(findings))
    yield (
        "Share of the utterances that keep the label of the same speaker's previous utterance, and of the turn before; "
        "share of each label; shift: total variation distance from train's shares:"
    )
    for name in findings.datasets:
        yield _label_table([one for one in findings.labels if one.dataset == name])
    if findings.agreement:
        yield (
            "How two datasets label the longer turns that they share, in dialogues that share a scene and once in "
            f"each; in unified labels, from {LEAST_TURNS} turns on:"
        )
        yield render_table(
            ("datasets", "turns", "equal labels", "Cohen's kappa"), map(_agreement_row, findings.agreement)
        )


def _agreement_row(one: AnnotatedTwice) -> list[str]:
    found = one.found
    kappa = "-" if found.kappa is None else f"{found.kappa:.2f}"
    return [f"{one.first}, {one.second}", str(found.turns), _percent(found.raw), kappa]


def _trains(findings: Findings) -> list[str]:
    return [f"train of {name}" for name in findings.datasets]


def _duplicate_rows(findings: Findings) -> Iterator[list[str]]:
    for row in _group(findings.repeated, len(findings.datasets)):
        first = row[0]
        scored = f"{first.dataset} {first.split}" + (f", {first.recording}" if first.recording else "")
        yield [scored, str(first.found.utterances), *(_duplicate_cell(one.found) for one in row)]


def _duplicate_cell(found: Duplicates) -> str:
    exact, near = found.exact / max(1, found.utterances), found.near / max(1, found.long)
    return f"{found.exact}, {_percent(exact)}; near {_percent(near)}"


def _scene_rows(findings: Findings) -> Iterator[list[str]]:
    for row in _group(findings.scenes, len(findings.datasets)):
        cells = [f"{one.repeated} of {one.dialogues}; share {one.sharing}" for one in row]
        yield [f"{row[0].dataset} {row[0].split}", *cells]


def _group(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    """The rows of one scored part, a train each, in the order in which they were found."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _label_table(splits: Sequence[SplitLabels]) -> str:
    header = (splits[0].dataset, "same speaker's", "turn before's", *splits[0].shares, "shift")
    rows = [
        (
            one.split,
            _percent(one.inertia.same_speaker),
            _percent(one.inertia.previous_turn),
            *map(_percent, one.shares.values()),
            f"{one.shift:.3f}",
        )
        for one in splits
    ]
    return render_table(header, rows)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"
