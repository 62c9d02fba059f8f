"""The command line of demo/app.py: what is refused, what it warns of, and where the page says that it is."""

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import page_layout
from commands import REPOSITORY, assert_one_line_error, call_script
from page_events import Page


@pytest.fixture(scope="module")
def app():
    """demo/app.py as a module."""
    found = importlib.util.spec_from_file_location("app_of_the_demo", REPOSITORY / "demo" / "app.py")
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """(checkpoints, warning of the page, how it is launched) of each page that would have been opened."""
    opened: list[tuple] = []

    def build(page, warning):
        return SimpleNamespace(launch=lambda **how: opened.append((list(page.folders.values()), warning, how)))

    monkeypatch.setattr(page_layout, "build", build)
    monkeypatch.setattr(page_layout, "make_theme", lambda: None)
    return opened


def test_visitors_are_counted_whatever_they_ask_with() -> None:
    """Eight at once in all: by the button, by a turn that they add, by a dialogue that they click."""
    blocks = page_layout.build(Page([REPOSITORY / "demo" / "adapter"]))
    answering = [one.concurrency_id for one in blocks.fns.values() if one.types_generator]
    assert len(answering) > 3 and len(set(answering)) == 1


def test_a_page_that_nobody_asks_is_nearly_idle() -> None:
    """By itself Gradio looks a thousand times a second for questions, and a hundred times for progress to tell."""
    import gradio as gr  # slow to import, for every process that collects the tests

    queue, usual = page_layout.build(Page([REPOSITORY / "demo" / "adapter"]))._queue, vars(gr.Blocks().queue()._queue)
    for name in ("sleep_when_free", "progress_update_sleep_when_free"):
        assert usual[name] < getattr(queue, name) <= 0.1


@pytest.mark.parametrize("port", ["70000", "0", "-1", "http"])
def test_a_port_that_cannot_be_is_one_line(app, port: str) -> None:
    result = call_script(app.main, "--port", port)
    assert_one_line_error(result, f"--port: '{port}' is not allowed, allowed are whole numbers from 1 to 65535")


@pytest.mark.parametrize("place", ["emotions", "ftp://host/emotions", "/two words", "https://", ""])
def test_a_root_path_that_cannot_be_is_one_line(app, launched, place: str) -> None:
    assert_one_line_error(call_script(app.main, "--root_path", place), "--root_path", "allowed are one like /emotions")
    assert launched == []


@pytest.mark.parametrize(
    ("given", "variable", "place"),
    [
        (None, None, None),
        (None, "/from_variable", "/from_variable"),
        ("/emotions/", "/from_variable", "/emotions"),
        ("https://example.org/emotions", None, "https://example.org/emotions"),
    ],
)
def test_the_page_is_told_where_a_proxy_serves_it(
    app,
    launched,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str | None,
    variable: str | None,
    place: object,
) -> None:
    monkeypatch.delenv("GRADIO_ROOT_PATH", raising=False)
    if variable:
        monkeypatch.setenv("GRADIO_ROOT_PATH", variable)
    flags = ["--root_path", given] if given else []
    done = call_script(app.main, "--checkpoint", trained / "run" / "model", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    ((checkpoints, warning, how),) = launched
    assert (how["root_path"], how["share"], warning) == (place, False, "")
    assert checkpoints[0] == trained / "run" / "model"


def test_a_page_that_others_reach_is_warned_of(app, launched, trained: Path) -> None:
    hosts = {"127.0.0.1": False, "localhost": False, "::1": False, "127.0.0.9": False}
    hosts |= {"0.0.0.0": True, "::": True, "192.168.0.7": True, "workstation": True}
    for host, is_open in hosts.items():
        done = call_script(app.main, "--checkpoint", trained / "run" / "model", "--host", host)
        _, warning, how = launched.pop()
        assert how["server_name"] == host and bool(warning) == is_open, host
        told = f"warning: --host {host} opens the page to the network of this machine. Whoever reaches it may use it"
        assert done.stderr.startswith(told) == is_open and warning in done.stderr
