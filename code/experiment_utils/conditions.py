"""The table of experiments, experiments/conditions.yaml: every published number as settings of the three scripts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from basics.errors import UserError
from basics.files import find_repository
from data_utils.labels import DATASETS

CONDITIONS_FILE = find_repository() / "experiments" / "conditions.yaml"
BENCHMARKS = ("iemocap", "meld", "EmoryNLP")

# Names are words of a command line, and of file names.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.+-]+$")]
Script = Literal["Uni", "Plain", "Mixed"]
Setting = bool | int | float | str


class _Checked(BaseModel):
    """Refuses keys that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Row(_Checked):
    """One row of a table. paper: dataset -> published weighted F1 in percent. script: where it is not the group's."""

    script: Script | None = None
    settings: dict[str, Setting] = {}
    paper: dict[str, float] = {}


class Group(_Checked):
    """Rows that differ in a few settings; in a setting, {dataset} stands for the dataset of the run.

    varied: the setting that each dataset of a row is put into, one run for each; none: one run scores them all.
    note: what must be known to read its numbers. finding: what they say, point by point, once they are there.
    compare_with: the row that the others are tested against.
    """

    table: str = Field(pattern=r"^[A-Za-z0-9_]+$")
    title: str
    note: str = ""
    finding: tuple[str, ...] = ()
    script: Script
    varied: Literal["dataset", "train_on", "none"] = "dataset"
    datasets: tuple[str, ...] = BENCHMARKS
    settings: dict[str, Setting] = {}
    seeds: tuple[int, ...] = Field(default=(42, 43, 44), min_length=1)
    tolerance: float = Field(default=0.5, gt=0)
    compare_with: Name | None = None
    rows: dict[Name, Row] = Field(min_length=1)


class Table(_Checked):
    """The whole file. groups: name -> group. systems: other published systems, to stand beside ours."""

    groups: dict[Name, Group]
    systems: dict[str, dict[str, float]] = {}


@dataclass(frozen=True)
class Condition:
    """What one command runs, once for every seed.

    name: <group>/<row>/<dataset>, or <group>/<row> where one run scores all datasets. title, note, finding: of its
    group. settings: knobs of code/knobs/table.py, without the seed. paper: dataset -> published weighted F1 in percent,
    empty for our own. tolerance: in points of weighted F1. compared_with: the name of the condition that this one is
    tested against.
    """

    name: str
    table: str
    title: str
    note: str
    finding: tuple[str, ...]
    row: str
    script: str
    settings: Mapping[str, str]
    datasets: tuple[str, ...]
    seeds: tuple[int, ...]
    paper: Mapping[str, float]
    tolerance: float
    compared_with: str | None

    @property
    def split(self) -> str:
        """What is scored: test, unless the settings say otherwise."""
        return self.settings.get("score_on", "test")


def read_table(path: Path = CONDITIONS_FILE) -> Table:
    """Read and check the file; UserError names every place that is wrong."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return Table.model_validate(content)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; experiments/conditions.yaml comes with the repository") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        places = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise UserError(f"{path}: {'; '.join(places)}") from error


def list_conditions(table: Table) -> dict[str, Condition]:
    """Name -> condition, in the order of the file; UserError for a dataset or a row that is not known."""
    found = {}
    for name, group in table.groups.items():
        for row_name, row in group.rows.items():
            for condition in _conditions_of(name, group, row_name, row):
                found[condition.name] = condition
    for condition in found.values():
        if condition.compared_with not in (None, *found):
            raise UserError(f"{condition.name} is compared with {condition.compared_with}, which is no condition")
    return found


def _conditions_of(name: str, group: Group, row_name: str, row: Row) -> Iterator[Condition]:
    datasets = tuple(row.paper) or group.datasets
    unknown = [dataset for dataset in datasets if dataset not in DATASETS]
    if unknown:
        raise UserError(f"{name}/{row_name}: unknown dataset {', '.join(unknown)}, allowed are {', '.join(DATASETS)}")
    settings = {key: str(value) for key, value in (group.settings | row.settings).items()}
    if group.varied == "none":
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
        table=group.table,
        title=group.title,
        note=group.note,
        finding=group.finding,
        row=row_name,
        script=row.script or group.script,
        settings=settings,
        datasets=datasets,
        seeds=group.seeds,
        paper={dataset: row.paper[dataset] for dataset in datasets if dataset in row.paper},
        tolerance=group.tolerance,
        compared_with=_other_row(name, row_name, group.compare_with),
    )


def _other_row(name: str, row: str, other: str | None) -> str | None:
    """The name of the condition in another row, None for that row itself."""
    return None if other in (None, row) else "/".join([name.split("/")[0], other, *name.split("/")[2:]])


def choose_conditions(
    conditions: Mapping[str, Condition], table: str | None = None, names: Sequence[str] = ()
) -> list[Condition]:
    """Those of a table, and of them those whose names are, or begin with, one of `names`, in the order of `names`.

    UserError lists what there is.
    """
    tables = list(dict.fromkeys(condition.table for condition in conditions.values()))
    if table is not None and table not in tables:
        raise UserError(f"--table {table}: allowed are {', '.join(tables)}")
    of_table = [condition for condition in conditions.values() if table in (None, condition.table)]
    if not names:
        return of_table
    found = (condition for name in names for condition in _called(name, of_table))
    return list({condition.name: condition for condition in found}.values())


def _called(name: str, conditions: Sequence[Condition]) -> list[Condition]:
    found = [one for one in conditions if f"{one.name}/".startswith(f"{name.rstrip('/')}/")]
    if not found:
        groups = dict.fromkeys(one.name.split("/", 1)[0] for one in conditions)
        raise UserError(
            f"--condition {name}: no condition is called or begins so; --list shows all, in {', '.join(groups)}"
        )
    return found
