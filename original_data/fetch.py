"""Get a published pickle: `python original_data/fetch.py meld` (a few seconds; prints the file).

A download that broke off goes on where it stopped. A file gets its name only after its SHA-256 has been
checked. README.md beside this file says where every dataset comes from and under which licence.
"""

import http.client
import os
import sys
import urllib.error
import urllib.request
from argparse import Namespace
from pathlib import Path
from typing import BinaryIO

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))

from basics.argument_parsing import LineParser  # noqa: E402
from basics.errors import NO_SPACE_ERRNOS, UserError  # noqa: E402
from basics.files import READ_BLOCK_BYTES, sha256_of  # noqa: E402
from basics.scripts import run_script  # noqa: E402
from data_utils.labels import DATASETS, PublicFile  # noqa: E402

# The repository of the method, at the commit it was read from, and the one the pickles were made in.
INSTRUCTERC = "https://raw.githubusercontent.com/LIN-SHANG/InstructERC/44014f1/original_data"
COSMIC = (
    "https://raw.githubusercontent.com/declare-lab/conv-emotion/"
    "421eab982581faf9537e165517d3b630765caba5/COSMIC/feature-extraction"
)
SECONDS_TO_ANSWER = 30


PUBLIC = {name: spec.download for name, spec in DATASETS.items() if spec.download}
# Datasets that this script does not fetch, and what to do instead.
EXPLAINED = {
    "iemocap": "iemocap is not fetched: USC gives it to those who sign its release form "
    "(https://sail.usc.edu/iemocap/); then put COSMIC's pickle at original_data/iemocap/iemocap.pkl",
    "dailydialog": "dailydialog is not fetched: no release of its pickle is known by SHA-256; put one in the "
    "format of original_data/README.md at original_data/dailydialog/dailydialog.pkl",
    "sample": "sample is not fetched: it comes with the repository, in original_data/sample",
}


def main() -> None:
    """Arguments -> the pickle, checked -> its path on stdout."""
    arguments = parse_arguments()
    if arguments.dataset in EXPLAINED:
        raise UserError(EXPLAINED[arguments.dataset])
    wanted = PUBLIC[arguments.dataset]
    path = arguments.original_data.absolute() / wanted.path
    if not path.exists():
        fetch(wanted, list_addresses(wanted, arguments.source), path)
    elif sha256_of(path) != wanted.sha256:
        raise UserError(f"{path} is there with another SHA-256, allowed is {wanted.sha256}; move it away first")
    print(path)


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description="Get a published pickle.")
    parser.add_argument("dataset", choices=(*PUBLIC, *EXPLAINED), help="name of the dataset")
    parser.add_argument(
        "--original_data", type=Path, default=HERE, help="folder it goes to (default: the one of this script)"
    )
    parser.add_argument("--source", help="address of another copy of the original_data folder")
    return parser.parse_args()


def list_addresses(wanted: PublicFile, source: str | None) -> list[str]:
    """Return the addresses to try in turn; UserError if the source given is no web address."""
    if source is None:
        return [f"{INSTRUCTERC}/{wanted.path}", f"{COSMIC}/{wanted.cosmic_path}"]
    if not source.startswith(("http://", "https://")):
        raise UserError(f"--source: {source!r} is not allowed, allowed are http:// and https:// addresses")
    return [f"{source.rstrip('/')}/{wanted.path}"]


def fetch(wanted: PublicFile, addresses: list[str], path: Path) -> None:
    """Download to `<path>.part` from the first address that has the right bytes, check, rename.

    Raises UserError, with what each address did, if none has them. What a broken download left stays, to
    go on from; wrong bytes are removed, as nothing could be made of them.
    """
    part = path.with_name(path.name + ".part")
    if part.exists() and not find_fault(part, wanted):
        os.replace(part, path)
        return
    problems = []
    for address in addresses:
        problem = try_download(address, part) or find_fault(part, wanted)
        if not problem:
            os.replace(part, path)
            return
        problems.append(f"{address}: {problem}")
    raise UserError(
        f"{'; '.join(problems)}; the same command goes on where it stopped, and original_data/README.md says "
        "which file to put there by hand"
    )


def find_fault(part: Path, wanted: PublicFile) -> str | None:
    """Return what is wrong with a download, None if it is whole; wrong bytes are removed."""
    size = part.stat().st_size
    if size < wanted.size_bytes:
        return f"broke off at {size} of {wanted.size_bytes} bytes"
    found = sha256_of(part)
    if found == wanted.sha256:
        return None
    part.unlink()
    return f"the SHA-256 is {found}, allowed is {wanted.sha256}"


def try_download(address: str, part: Path) -> str | None:
    """Download; return what went wrong on the way, None if nothing did. OSError for a full disk."""
    try:
        download(address, part)
    except urllib.error.HTTPError as error:
        return f"answers {error.code} {error.reason}"
    except (http.client.HTTPException, OSError) as error:
        if getattr(error, "errno", None) in NO_SPACE_ERRNOS:
            raise
        return f"no answer ({getattr(error, 'reason', error)})"
    return None


def download(address: str, part: Path) -> None:
    """Append what is missing to `part`, or write it anew if the server starts from the beginning."""
    begin = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={begin}-"} if begin else {})
    with urllib.request.urlopen(request, timeout=SECONDS_TO_ANSWER) as response:
        mode = "ab" if response.status == http.HTTPStatus.PARTIAL_CONTENT else "wb"
        with open_part(part, mode) as stream:
            while block := response.read(READ_BLOCK_BYTES):
                stream.write(block)


def open_part(part: Path, mode: str) -> BinaryIO:
    """Open a download for writing; UserError where the folder does not allow it, OSError for a full disk."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        return open(part, mode)
    except OSError as error:
        if error.errno in NO_SPACE_ERRNOS:
            raise
        raise UserError(f"cannot write {part}: {error.strerror}; --original_data names another folder") from None


if __name__ == "__main__":
    run_script(main)
