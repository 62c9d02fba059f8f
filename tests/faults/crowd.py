"""Many visitors of the page at once, each with a dialogue of their own, and requests that no browser makes.

    python tests/faults/crowd.py                       # 50 visitors of the sample's checkpoint, three visits of each
    python tests/faults/crowd.py --visitors 100 --visits 1 --checkpoint FOLDER

Each dialogue is first asked about alone; then all visitors ask at once, and have to get the same page to the byte:
nothing of another's dialogue, no count that is not theirs. Names and utterances are markup, templates, paths, formulas.
Beside them somebody sends what the page's parts cannot hold. Prints how long visits took, how often the page was full
and what its process took of memory, and exits with 1 where an answer was another or a file of the machine came
out; a page that is no longer there ends it with an error.
"""

import argparse
import json
import os
import re
import resource
import statistics
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "code"), str(REPOSITORY / "tests" / "helpers")]

from basics.argument_parsing import LineParser, whole_number  # noqa: E402
from basics.words import counted  # noqa: E402
from served_page import served  # noqa: E402
from training.provenance import peak_memory_mib  # noqa: E402

SECONDS = 900  # for one visit
FULL = 503  # what Gradio answers when too many wait
HOSTILE = (
    "<script>document.title='{mark}'</script>",
    "${{{mark}}} `{mark}`",
    '=cmd|"/C {mark}"!A0',
    "../../{mark}/%2e%2e/",
    "</bdi></li><img src=x onerror=alert('{mark}')>",
    "\u202e{mark}\u2066",
)
# The last lies beside the page, and is the repository's own.
FILES = (
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../../../etc/passwd",
    "/file=/etc/passwd",
    "/../README.md",
)


Answer = tuple[str, str] | None  # (status, result) as HTML that a visitor is shown at the end


@dataclass(frozen=True)
class Page:
    """find: the number of what a click on "Find emotions" calls; checkpoint: the one that is shown first."""

    address: str
    find: int
    checkpoint: str


class PageFull(Exception):
    """Too many wait: the visitor is told so, and comes again."""


@dataclass
class Visits:
    """What came of them. full: who found the page full, each time."""

    seconds: list[float] = field(default_factory=list)
    full: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def main() -> None:
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default, what in (("visitors", 50, "at once"), ("visits", 3, "of each"), ("turns", 4, "of a dialogue")):
        told = f"{what} (default: %(default)s)"
        parser.add_argument(f"--{name}", type=whole_number(1), default=default, help=told)
    parser.add_argument("--checkpoint", default="sample", help="as predict.py takes it (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "page.log"
        with served(log, "--checkpoint", arguments.checkpoint) as port:
            came = crowd(f"http://127.0.0.1:{port}", arguments.visitors, arguments.visits, arguments.turns)
        came.faults += find_tracebacks(log)
    memory = peak_memory_mib(resource.RUSAGE_CHILDREN)  # of the page, which has ended
    print(
        f"{len(came.seconds)} visits, {statistics.median(came.seconds):.1f} s at the median and "
        f"{max(came.seconds):.1f} s at most; {len(came.full)} times the page was full; "
        f"{memory:,.0f} MiB of memory at most"
    )
    for fault in came.faults:
        print(f"FAULT: {fault}")
    sys.exit(bool(came.faults))


def crowd(address: str, visitors: int, visits: int, turns: int) -> Visits:
    """All that this program is about, done to the page at an address."""
    page = look_at(address)
    dialogues = [make_dialogue(number, turns) for number in range(visitors)]
    alone = [ask_about(page, dialogue, f"alone{number}") for number, dialogue in enumerate(dialogues)]
    came = Visits(faults=[fault for n, shown in enumerate(alone) for fault in find_faults(n, shown, turns)])
    began, over = threading.Barrier(visitors), threading.Event()

    def visit(number: int) -> None:
        began.wait()
        for turn in range(visits):
            start = time.monotonic()
            shown = ask_until_let_in(page, dialogues[number], f"visitor{number}-{turn}", came)
            came.seconds.append(time.monotonic() - start)
            if shown != alone[number]:
                told = tell_difference(alone[number], shown)
                came.faults.append(f"visitor {number}, visit {turn}: another page than alone: {told}")

    with ThreadPoolExecutor(visitors + 1) as pool:
        vandal = pool.submit(send_unfit, page, over)
        try:
            tuple(pool.map(visit, range(visitors)))
        finally:
            over.set()
        came.faults += vandal.result()
    if ask_about(page, dialogues[0], "afterwards") != alone[0]:
        came.faults.append("afterwards the page answers otherwise than before")
    return came


def make_dialogue(number: int, turns: int) -> str:
    """Lines that name their visitor, with what must stay text."""
    mark = mark_of(number)
    said = [HOSTILE[(number + turn) % len(HOSTILE)].format(mark=mark) for turn in range(turns)]
    return "\n".join(f"{mark}{'AB'[turn % 2]}: turn {turn} {words}" for turn, words in enumerate(said))


def mark_of(number: int) -> str:
    return f"visitor{number:04d}"


def find_faults(number: int, shown: Answer, turns: int) -> Iterator[str]:
    """What is wrong with (status, result) that a visitor of this number is shown."""
    status, result = shown or ("nothing", "")
    marks = set(re.findall(r"visitor\d{4}", result))
    if marks != {mark_of(number)}:
        yield f"visitor {number} is shown {sorted(marks)}"
    if f"{counted(turns, 'turn')}, labels of" not in status:
        yield f"visitor {number} is told {status}"
    for markup in ("<script", "<img src=x", "${", "`"):
        if markup in result:
            yield f"visitor {number}: {markup} is no text"


def tell_difference(expected: Answer, found: Answer) -> str:
    """Where a page begins to be another one, with a little of both from there."""
    one, other = ("\n".join(page or ("no answer",)) for page in (expected, found))
    place = len(os.path.commonprefix([one, other]))
    return f"{one[place : place + 80]!r} became {other[place : place + 80]!r}, after {one[:place][-40:]!r}"


def look_at(address: str) -> Page:
    config = json.loads(fetch(f"{address}/config"))
    parts = {one["props"].get("elem_id"): one for one in config["components"]}
    click = [parts["find"]["id"], "click"]
    (find,) = (one["id"] for one in config["dependencies"] if click in one["targets"] and one["backend_fn"])
    return Page(address, find, parts["checkpoint"]["props"]["value"])


def fetch(address: str, content: Any = None) -> bytes:
    """What is answered to GET, or to POST where there is content."""
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS) as answer:
        return answer.read()


def ask_until_let_in(page: Page, dialogue: str, session: str, came: Visits) -> Answer:
    """As `ask_about`; who finds the page full comes again after a second."""
    while True:
        try:
            return ask_about(page, dialogue, session)
        except PageFull:
            came.full.append(session)
            time.sleep(1)


def ask_about(page: Page, dialogue: str, session: str) -> Answer:
    """As `ask`, of a dialogue, by one who has opened nothing and knows nothing."""
    return ask(page, [page.checkpoint, dialogue, None, None], session)


def ask(page: Page, data: list[Any], session: str) -> Answer:
    """(status, result) that are shown at the end; None: the page said that it cannot.

    Raises:
        PageFull: too many wait.
    """
    queue = f"{page.address}/gradio_api/queue"
    try:
        fetch(f"{queue}/join", {"data": data, "fn_index": page.find, "session_hash": session})
    except urllib.error.HTTPError as error:
        if error.code == FULL:
            raise PageFull from None
        return None
    with urllib.request.urlopen(f"{queue}/data?session_hash={session}", timeout=SECONDS) as stream:
        for line in stream:
            told = json.loads(line.removeprefix(b"data: ")) if line.startswith(b"data: ") else {}
            if told.get("msg") == "process_completed":
                return tuple(told["output"]["data"][:2]) if told["success"] else None
    return None


def make_unfit(checkpoint: str) -> list[list[Any]]:
    """What the parts of the page cannot hold: checkpoint, dialogue, what was opened, what is known."""
    return [
        [],
        [checkpoint, None, None, None],
        ["../../../etc/passwd", "Ann: Hi.", None, None],
        [checkpoint, {"b": ["c"]}, 5, True],
        [checkpoint, 5, "given", "known"],
        [checkpoint, "\x00" * 1000, None, None],
        [checkpoint, "Ann: \ud800.", None, None],
        [checkpoint, "Ann: " + "a" * 200_000, None, None],
        [checkpoint, "\n" * 100_000, [], {}],
        [checkpoint, "Ann: Hi.\n" * 10_000, None, None],
    ]


def send_unfit(page: Page, over: threading.Event) -> list[str]:
    """Send what is unfit, again and again until the others have gone; files that came out."""
    faults: list[str] = []
    rounds = 0
    while not rounds or not over.is_set():
        for place, data in enumerate(make_unfit(page.checkpoint)):
            try:
                ask(page, data, f"unfit{rounds}-{place}")
            except PageFull:
                time.sleep(1)
        for place in FILES:
            try:
                found = fetch(page.address + place)
            except urllib.error.HTTPError:
                continue
            if b"root:" in found or b"InstructERC" in found:
                faults.append(f"{place} came out")
        rounds += 1
        time.sleep(1)
    return faults


def find_tracebacks(log: Path) -> list[str]:
    """How what went through the program's own code ended, each once; Gradio tells of what it refuses likewise."""
    ended: dict[str, None] = {}
    is_own = False
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("Traceback"):
            is_own = False
        is_own |= f'File "{REPOSITORY / "demo"}' in line or f'File "{REPOSITORY / "code"}' in line
        if is_own and re.match(r"\S*(?:Error|Exception)\b", line):
            ended[line[:300]] = None
    return list(ended)


if __name__ == "__main__":
    main()
