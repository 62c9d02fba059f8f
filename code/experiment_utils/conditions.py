"""The table of experiments, experiments/conditions.yaml: every published number as settings of the three scripts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from basics.errors import UserError
from basics.files import find_repository
from basics.yaml_files import YamlError, parse_yaml, refuse_doubled_keys
from data_utils.corpora.places import find_corpus, name_datasets
from data_utils.labels import DATASETS

EXPERIMENTS = find_repository() / "experiments"
CONDITIONS_FILE = EXPERIMENTS / "conditions.yaml"
BENCHMARKS = ("iemocap", "meld", "EmoryNLP")

# Names are used on command lines and in paths, where dots alone would be another folder.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.+-]*$")]
Script = Literal["Uni", "Plain", "Mixed"]
Setting = bool | int | float | str
# Settings that are no condition's, as each of its runs gets its own, and what says them in their place.
OF_A_RUN = MappingProxyType(
    {
        "checkpoint_dir": "is of one seed; name a condition with start_from",
        "seed": "is of one run; seeds of the group lists them, or --seeds",
        "resume": "is of one call; leave it away, --resume says so",
        "FLAG": "is of one call; leave it away, --dry-run shows the commands",
        "DRY_RUN": "is of one call; leave it away, --dry-run shows the commands",
    }
)


class _Checked(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Checked):
    """One row of a table. paper: dataset -> published weighted F1 in percent. script: None: that of the group.

    start_from: the condition from whose model, of the same seed, this one starts; {dataset} as in settings. in_readme:
    whether the README's table of systems shows it too; that of REPORT.md always does.
    """

    script: Script | None = None
    start_from: str | None = None
    in_readme: bool = True
    settings: dict[str, Setting] = {}
    paper: dict[str, float] = {}


class Group(_Checked):
    """Rows that differ in a few settings; in a setting, {dataset} stands for the dataset of the run.

    varied: the setting that gets each of the datasets in turn, a run for each; none: one run scores them all. note:
    text on how to read its numbers. compare_with: the row that the others are tested against. tolerance: the paper's
    spread in points of weighted F1, as its authors state it.
    """

    table: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    title: str
    note: str = ""
    script: Script
    varied: Literal["dataset", "train_on", "none"] = "dataset"
    datasets: tuple[str, ...] = BENCHMARKS
    settings: dict[str, Setting] = {}
    seeds: tuple[int, ...] = Field(default=(42, 43, 44), min_length=1)
    tolerance: float = Field(default=0.5, gt=0)
    compare_with: Name | None = None
    rows: dict[Name, Row] = Field(min_length=1)

    @field_validator("seeds", "datasets")
    @classmethod
    def _names_each_once(cls, value: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(value)) < len(value):
            raise ValueError("one stands there twice")
        return value


class Claim(_Checked):
    """Scores that others report. scores: dataset -> weighted F1 in percent, on test.

    by: "published" by the authors of the system, or InstructERC "run again by others". source: a link or a paper. base:
    the model, with its size where it is known. selection, seeds: as the source says; None where it does not. text_only:
    whether only the transcript is used. in_readme: whether the README shows it too; REPORT.md always does.
    """

    system: str
    by: Literal["published", "run again by others"]
    scores: dict[str, float]
    source: str
    base: str
    text_only: bool
    in_readme: bool = True
    selection: str | None = None
    seeds: int | None = None
    note: str = ""


class Table(_Checked):
    """The whole file. groups: name -> group. claims: scores that others report."""

    groups: dict[Name, Group]
    claims: tuple[Claim, ...] = ()


@dataclass(frozen=True)
class Condition:
    """What one command runs, once for every seed.

    name: <group>/<row>/<dataset>, or <group>/<row> where one run scores all datasets. settings: knobs of
    code/knobs/table.py, without the seed. paper: dataset -> published weighted F1 in percent; empty for our own
    conditions. compared_with, start_from: names of the condition that this one is tested against, and of the one from
    whose model it starts.
    """

    name: str
    group: Group
    row: str
    script: str
    settings: Mapping[str, str]
    datasets: tuple[str, ...]
    paper: Mapping[str, float]
    compared_with: str | None
    start_from: str | None = None

    @property
    def split(self) -> str:
        """What is scored: test, unless the settings say otherwise."""
        return self.settings.get("score_on", "test")

    @property
    def has_own_labels(self) -> bool:
        """Whether answers are in the dataset's own labels, not in the unified ones."""
        return self.script != "Mixed"


def read_table(path: Path = CONDITIONS_FILE) -> Table:
    """Reads and checks the file; UserError names every place that is wrong."""
    try:
        content, _ = parse_yaml(Path(path).read_text(encoding="utf-8"), refuse_doubled_keys)
        return Table.model_validate(content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; experiments/conditions.yaml comes with the repository") from error
    except (YamlError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as YAML: {error}") from error
    except ValidationError as error:
        places = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UserError(f"{path}: {'; '.join(places)}") from error


def list_conditions(table: Table) -> dict[str, Condition]:
    """Name -> condition, in the order of the file.

    Raises:
        UserError: a dataset or row is unknown; the datasets of a run that scores several are not those it mixes; or a
            setting is of one run, not of a condition.
    """
    found = {}
    for name, group in table.groups.items():
        for row_name, row in group.rows.items():
            for condition in _conditions_of(name, group, row_name, row):
                found[condition.name] = condition
    for condition in found.values():
        for other in (condition.compared_with, condition.start_from):
            if other not in (None, *found):
                raise UserError(f"{condition.name} is compared with, or starts from, {other}, which is no condition")
    for name in found:
        _refuse_circle(name, found)
    return found


def _refuse_circle(name: str, conditions: Mapping[str, Condition]) -> None:
    before = [name]
    while start := conditions[before[-1]].start_from:
        if start in before:
            told = f", by way of {', '.join(before[1:])}" if before[1:] else ""
            raise UserError(f"{start} starts from itself{told}: name another condition with start_from")
        before.append(start)


def _conditions_of(name: str, group: Group, row_name: str, row: Row) -> Iterator[Condition]:
    datasets = tuple(row.paper) or group.datasets
    unknown = [dataset for dataset in datasets if dataset not in DATASETS and not find_corpus(dataset)]
    if unknown:
        raise UserError(f"{name}/{row_name}: unknown dataset {', '.join(unknown)}, allowed are {name_datasets()}")
    settings = {key: str(value) for key, value in (group.settings | row.settings).items()}
    of_a_run = OF_A_RUN | {group.varied: "is of one run; datasets of the group lists them"}
    if wrong := [f"{key} {of_a_run[key]}" for key in settings if key in of_a_run]:
        raise UserError(f"{name}/{row_name}: {'; '.join(wrong)}")
    if group.varied == "none":
        if (named := settings.get("datasets", "")) != ",".join(datasets):
            told = f"its setting datasets is {named or 'not there'}, and what it scores is {','.join(datasets)}"
            raise UserError(f"{name}/{row_name}: {told}; name the same sets in the same order")
        yield _condition(f"{name}/{row_name}", group, row_name, row, settings, datasets)
        return
    for dataset in datasets:
        filled = {key: value.replace("{dataset}", dataset) for key, value in settings.items()} | {group.varied: dataset}
        yield _condition(f"{name}/{row_name}/{dataset}", group, row_name, row, filled, (dataset,))


def _condition(
    name: str, group: Group, row_name: str, row: Row, settings: Mapping[str, str], datasets: tuple[str, ...]
) -> Condition:
    return Condition(
        name=name,
        group=group,
        row=row_name,
        script=row.script or group.script,
        settings=settings,
        datasets=datasets,
        paper={dataset: row.paper[dataset] for dataset in datasets if dataset in row.paper},
        compared_with=_other_row(name, row_name, group.compare_with),
        start_from=row.start_from and row.start_from.replace("{dataset}", datasets[0]),
    )


def _other_row(name: str, row: str, other: str | None) -> str | None:
    """The name of the condition in the row `other`; None where that is this row."""
    return None if other in (None, row) else "/".join([name.split("/")[0], other, *name.split("/")[2:]])


def choose_conditions(
    conditions: Mapping[str, Condition], table: str | None = None, names: Sequence[str] = ()
) -> list[Condition]:
    """The conditions of a table (None: of all) whose names equal or begin with one of `names`, in the order of these.

    UserError for an unknown table or name; it lists the known ones.
    """
    tables = list(dict.fromkeys(condition.group.table for condition in conditions.values()))
    if table is not None and table not in tables:
        raise UserError(f"--table {table}: allowed are {', '.join(tables)}")
    of_table = [condition for condition in conditions.values() if table in (None, condition.group.table)]
    if not names:
        return of_table
    found = (condition for name in names for condition in _called(name, of_table))
    return list({condition.name: condition for condition in found}.values())


def _called(name: str, conditions: Sequence[Condition]) -> list[Condition]:
    found = [one for one in conditions if f"{one.name}/".startswith(f"{name.rstrip('/')}/")]
    if not found:
        groups = dict.fromkeys(one.name.split("/", 1)[0] for one in conditions)
        raise UserError(f"no condition is called {name} or begins so; --list shows all, in {', '.join(groups)}")
    return found
