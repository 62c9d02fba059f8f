"""A page to play with: type, paste or open a dialogue and see what each speaker feels, turn by turn.

    python demo/app.py                                   # then open the address that it prints
    python demo/app.py --root_path /emotions             # behind a proxy that forwards https://example.org/emotions

Only this machine can reach it unless --host says otherwise, and it sends nothing anywhere.
"""

import argparse
import ipaddress
import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

# First of all: from here on Ctrl-C is one line.
from basics.scripts import run_script  # noqa: E402

# isort: split
from basics.argument_parsing import LineParser, whole_number  # noqa: E402
from basics.errors import UserError  # noqa: E402
from page_input import LARGEST_FILE  # noqa: E402

ROOT_PATH = "GRADIO_ROOT_PATH"  # Gradio's own variable
OPEN = "Whoever reaches it may use it: there is no password, and what is typed travels unencrypted."
# A path below a host, or the whole address as browsers have it.
_ROOT = re.compile(r"(https?://[^\s/?#]+)?(/[^\s?#]*)?")


def root_path(value: str) -> str:
    """The type of --root_path; argparse.ArgumentTypeError: it is neither a path nor an address."""
    if not value or not _ROOT.fullmatch(value):
        told = f"{value!r} is no path, allowed are one like /emotions, and an address like https://example.org/emotions"
        raise argparse.ArgumentTypeError(told)
    return value.rstrip("/")


def is_open(host: str) -> bool:
    """Whether others than this machine reach what listens on an address; a name but localhost counts as open."""
    try:
        return not ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host != "localhost"


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = LineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="name or folder, as predict.py takes it (default: what it would take)")
    parser.add_argument(
        "--decode",
        choices=("transitions", "score"),
        help="transitions: filtered by what was felt before; score: each turn by itself (default: as in training)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=whole_number(1, 65535), default=7860, help="port (default: %(default)s)")
    parser.add_argument(
        "--root_path",
        type=root_path,
        default=os.environ.get(ROOT_PATH) or None,
        help=f"where a proxy serves the page: a path or an address (default: ${ROOT_PATH}, else nowhere but here)",
    )
    return parser.parse_args()


def main() -> None:
    """Arguments -> checkpoints -> the page, until Ctrl-C."""
    arguments = parse_arguments()
    # Late: --help and what is wrong with a flag need no torch.
    from own_dialogues.checkpoint import find_checkpoint, list_checkpoints
    from page_events import Page
    from page_layout import STYLE, build, make_theme

    first = find_checkpoint(arguments.checkpoint)
    page = Page(dict.fromkeys([first, *list_checkpoints()]), arguments.decode)
    warning = OPEN if is_open(arguments.host) else ""
    if warning:
        told = f"warning: --host {arguments.host} opens the page to the network of this machine. {warning}"
        print(f"{told} A proxy can add both (--root_path).", file=sys.stderr)
    places = {"server_name": arguments.host, "server_port": arguments.port, "root_path": arguments.root_path}
    looks = {"theme": make_theme(), "css_paths": STYLE, "footer_links": []}
    try:
        build(page, warning).launch(**places, **looks, share=False, max_file_size=LARGEST_FILE)
    except OSError as error:
        raise UserError(f"--host {arguments.host} --port {arguments.port}: {error}; choose others") from None


if __name__ == "__main__":
    run_script(main)
