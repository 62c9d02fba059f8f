"""Takes pictures of the page to type dialogues into, wide and on a phone, with what the shipped adapter answers.

    python docs/photograph.py

Needs Chromium and the small base; a minute or two. Run it when a test says that the page has changed: each photograph
carries a digest of what it shows.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "code"))

from basics.scripts import run_script  # noqa: E402

# isort: split
from basics.argument_parsing import LineParser  # noqa: E402
from basics.errors import UserError  # noqa: E402
from basics.files import write_atomically  # noqa: E402
from photographed import CHECKPOINT, WINDOWS, sign  # noqa: E402

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECONDS_TO_START, SECONDS_TO_ANSWER = 120, 300
# What a user has set would show in the pictures.
OF_USERS = ("ERC_CHECKPOINT", "GRADIO_ROOT_PATH")


def main() -> None:
    parse_arguments()
    browser = next(filter(None, map(which, BROWSERS)), None)
    if browser is None:
        raise UserError(f"there is no browser; install one of {', '.join(BROWSERS)}")
    with serve() as address:
        for name, (width, height, is_phone) in WINDOWS.items():
            path = HERE / "pictures" / name
            taken = photograph(browser, address, {"width": width, "height": height}, is_phone)
            write_atomically(path, sign(taken))
            print(path)


@contextmanager
def serve() -> Iterator[str]:
    """The address of demo/app.py, which ends with the context; UserError when it does not start."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = HERE.parent / "demo" / "app.py"
    command = [sys.executable, app, "--port", str(port), "--checkpoint", CHECKPOINT]
    environment = {name: value for name, value in os.environ.items() if name not in OF_USERS}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield _wait_for(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait()


def _wait_for(address: str, process: subprocess.Popen) -> str:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return address
        except OSError:
            time.sleep(0.5)
    raise UserError(f"demo/app.py did not answer at {address} within {SECONDS_TO_START} seconds")


def photograph(browser: str, address: str, size: dict[str, int], is_phone: bool) -> bytes:
    """Ask for the emotions of the dialogue that the page begins with; a picture from its top on, as PNG."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        tab = opened.new_page(viewport=size, is_mobile=is_phone, color_scheme="light")
        tab.goto(address)
        tab.click("#find")
        tab.wait_for_selector("#result img", timeout=1000 * SECONDS_TO_ANSWER)
        tab.evaluate("window.scrollTo(0, 0)")
        taken = tab.screenshot()
        opened.close()
    return taken


def parse_arguments() -> Namespace:
    """There are none but --help."""
    return LineParser(description=__doc__.partition("\n")[0]).parse_args()


if __name__ == "__main__":
    run_script(main)
