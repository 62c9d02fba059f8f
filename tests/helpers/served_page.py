"""demo/app.py in a process of its own, and what a browser measures on it."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from basics.ports import find_free_ports
from commands import REPOSITORY

SECONDS_TO_START = 300
SECONDS_TO_END = 120
# demo/app.py with half a second more for each step of an answer about many turns: a visitor can stop it, another comes
# in between.
SLOWLY = """
import runpy, sys, time
sys.path[:0] = ["demo", "code"]
import basics.scripts
import emotion_page
answer = emotion_page.answer
def answer_slowly(recognizer, turns, *given):
    for rows in answer(recognizer, turns, *given):
        time.sleep(0.5 * (len(turns) > 50))
        yield rows
emotion_page.answer = answer_slowly
runpy.run_path("demo/app.py", run_name="__main__")
"""
# What a proxy does not pass on: it is about one connection, and the answer is of another length than was told.
OF_ONE_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


@contextmanager
def served(log: Path, *flags: object, slowly: bool = False, **variables: str) -> Iterator[int]:
    """The port of demo/app.py with these flags and environment variables; what it prints goes into a file.

    slowly: see `SLOWLY`.

    RuntimeError, with what it printed, when it ends or does not answer.
    """
    port = find_free_ports(1)[0]
    program = ["-c", SLOWLY] if slowly else [REPOSITORY / "demo" / "app.py"]
    command = [sys.executable, *program, "--port", port, *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | variables
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(map(str, command)), stdout=stream, stderr=stream, env=environment, cwd=REPOSITORY
        )
    try:
        wait_for(f"http://127.0.0.1:{port}", process, log)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=SECONDS_TO_END)


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Return once something answers at an address; RuntimeError, see `served`."""
    end = time.monotonic() + SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"nothing answers at {address}: {log.read_text()}")


@contextmanager
def proxied(port: int, path: str) -> Iterator[str]:
    """The address of a proxy that passes on what is below `path`, without it, to a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.0"

        def pass_on(self) -> None:
            if not self.path.startswith(path):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            behind = HTTPConnection("127.0.0.1", port, timeout=300)
            behind.request(self.command, self.path.removeprefix(path) or "/", body or None, dict(self.headers))
            answer = behind.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in OF_ONE_CONNECTION:
                    self.send_header(name, value)
            self.end_headers()
            while block := answer.read1(1 << 16):
                self.wfile.write(block)
                self.wfile.flush()
            behind.close()

        do_GET = do_POST = do_HEAD = pass_on

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# Every text that is seen, with the contrast of its letters to what lies behind them, as WCAG 2 defines it.
MEASURE_CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const colour = (text) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = (top, below) => [0, 1, 2].map((part) => top[part] * top[3] + below[part] * (1 - top[3])).concat([1]);
  const behind = (element) => {
    const layers = [];
    for (let one = element; one; one = one.parentElement) layers.push(colour(getComputedStyle(one).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const light = (rgb) => {
    const [red, green, blue] = rgb.slice(0, 3).map((value) => value / 255)
      .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const said = (element) => element.matches('input, textarea') ? element.value
    : [...element.childNodes].filter((one) => one.nodeType === 3).map((one) => one.data).join('');
  return [...document.body.querySelectorAll('*')]
    .filter((one) => one.checkVisibility({opacityProperty: true, visibilityProperty: true}) && said(one).trim())
    .filter((one) => !['SCRIPT', 'STYLE', 'TITLE'].includes(one.tagName) && one.getBoundingClientRect().width > 1)
    .map((one) => {
      const below = behind(one), letters = over(colour(getComputedStyle(one).color), below);
      const [dark, bright] = [light(below), light(letters)].sort((one, other) => one - other);
      return {text: said(one).trim().slice(0, 60), contrast: (bright + 0.05) / (dark + 0.05),
              colours: [letters.slice(0, 3), below.slice(0, 3)].map((one) => one.map(Math.round).join(' '))};
    });
}"""

# Numbers what can be used, so that whoever goes on by Tab can tell where she has been; returns how many there are.
NUMBER_CONTROLS = """() => {
  const all = [...document.querySelectorAll('a[href], button, input, textarea, select, summary, [tabindex="0"]')];
  const seen = all.filter((one) => !one.disabled && one.checkVisibility({visibilityProperty: true})
    && one.getBoundingClientRect().width > 1 && one.type !== 'hidden' && one.tabIndex >= 0);
  seen.forEach((one, place) => { one.dataset.place = place; });
  return seen.map((one) => one.innerText?.slice(0, 40) || one.getAttribute('aria-label') || one.tagName);
}"""

# The number of what has the focus, -1 for anything else, and how wide the line around it is, in pixels.
FOCUSED = """() => {
  const one = document.activeElement, looks = getComputedStyle(one);
  return [Number(one.dataset.place ?? -1), looks.outlineStyle === 'none' ? 0 : parseFloat(looks.outlineWidth)];
}"""
