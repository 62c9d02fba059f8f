"""Get the file of a published dataset, a pickle, check it, and print where it lies.

    python original_data/fetch.py meld          # also EmoryNLP; a few seconds

It is written only when its SHA-256 is the right one. Of the other datasets it says how to get them; README.md beside
this file says where every one comes from and under which licence.
"""

import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
from argparse import Namespace, RawDescriptionHelpFormatter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))

from basics.argument_parsing import LineParser  # noqa: E402
from basics.errors import UserError  # noqa: E402
from basics.files import sha256_of, write_atomically  # noqa: E402
from basics.scripts import run_script  # noqa: E402
from data_utils.corpora.places import ORIGINAL_DATA_VARIABLE  # noqa: E402
from data_utils.labels import DATASETS, PublishedFile  # noqa: E402

# The repository of the method, at the commit it was read from, and the one the pickles were made in.
INSTRUCTERC = "https://raw.githubusercontent.com/LIN-SHANG/InstructERC/44014f1/original_data"
COSMIC = (
    "https://raw.githubusercontent.com/declare-lab/conv-emotion/"
    "421eab982581faf9537e165517d3b630765caba5/COSMIC/feature-extraction"
)
SECONDS_TO_ANSWER = 30


PUBLIC = {name: spec.published for name, spec in DATASETS.items() if spec.published and spec.published.cosmic_path}
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
    addresses = list_addresses(wanted, arguments.source)
    path = arguments.original_data.absolute() / wanted.path
    if not path.exists():
        fetch(wanted, addresses, path)
    elif sha256_of(path) != wanted.sha256:
        raise UserError(f"{path} is there with another SHA-256, allowed is {wanted.sha256}; move it away first")
    print(path)


def parse_arguments() -> Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("dataset", choices=(*PUBLIC, *EXPLAINED), help="name of the dataset")
    parser.add_argument(
        "--original_data",
        type=Path,
        default=os.environ.get(ORIGINAL_DATA_VARIABLE) or HERE,
        help=f"folder it goes to (default: ${ORIGINAL_DATA_VARIABLE}, else the one of this script)",
    )
    parser.add_argument("--source", help="address of another copy of the original_data folder")
    return parser.parse_args()


def list_addresses(wanted: PublishedFile, source: str | None) -> list[str]:
    """Return the addresses to try in turn; UserError if the source given is no web address."""
    if source is None:
        return [f"{INSTRUCTERC}/{wanted.path}", f"{COSMIC}/{wanted.cosmic_path}"]
    if not source.startswith(("http://", "https://")):
        raise UserError(f"--source: {source!r} is not allowed, allowed are http:// and https:// addresses")
    return [f"{source.rstrip('/')}/{wanted.path}"]


def fetch(wanted: PublishedFile, addresses: list[str], path: Path) -> None:
    """Download from the first address that has the right bytes; the file is whole or not there.

    Raises UserError, with what each address did, if none has them.
    """
    problems = []
    for address in addresses:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS_TO_ANSWER) as response:
                content = response.read(wanted.size_bytes + 1)
        except urllib.error.HTTPError as error:
            problems.append(f"{address}: answers {error.code} {error.reason}")
            continue
        except (http.client.HTTPException, OSError) as error:
            problems.append(f"{address}: no answer ({getattr(error, 'reason', error)})")
            continue
        if problem := find_fault(content, wanted):
            problems.append(f"{address}: {problem}")
            continue
        write_atomically(path, content)
        return
    raise UserError(f"{'; '.join(problems)}; original_data/README.md says which file to put there by hand")


def find_fault(content: bytes, wanted: PublishedFile) -> str | None:
    """Return what is wrong with a download, None if it is the file."""
    if len(content) < wanted.size_bytes:
        return f"broke off at {len(content)} of {wanted.size_bytes} bytes"
    if len(content) > wanted.size_bytes:  # what was read of it has another SHA-256 than the file
        return f"longer than the {wanted.size_bytes} bytes that are allowed"
    found = hashlib.sha256(content).hexdigest()
    return None if found == wanted.sha256 else f"the SHA-256 is {found}, allowed is {wanted.sha256}"


if __name__ == "__main__":
    run_script(main)
