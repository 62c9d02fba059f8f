"""original_data/fetch.py against a server on this machine: broken off, wrong bytes, two at once, no network."""

import errno
import http.server
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest

from basics.errors import UserError
from basics.files import sha256_of, sha256_of_text
from basics.scripts import run_script
from commands import REPOSITORY, assert_one_line_error
from data_utils.dialogues import find_original_data
from data_utils.labels import DATASETS

Run = Callable[..., subprocess.CompletedProcess[str]]
CONTENT = "".join(f"line {number}\n" for number in range(1000))


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT at /meld/meld.pkl; the server's attributes say how well it behaves."""

    def do_GET(self) -> None:
        self.server.asked += 1
        if self.path != "/meld/meld.pkl":
            return self.send_error(404)
        body = self.server.content.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.breaks_off_after])
        return None

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[http.server.HTTPServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.asked, server.content, server.breaks_off_after = 0, CONTENT, None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its table changed to the small file of the test server."""
    spec = importlib.util.spec_from_file_location("fetch_data", REPOSITORY / "original_data" / "fetch.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fetch_data", module)
    spec.loader.exec_module(module)
    small = module.PublishedFile("meld/meld.pkl", len(CONTENT), sha256_of_text(CONTENT))
    monkeypatch.setitem(module.PUBLIC, "meld", small)
    return module


@pytest.fixture
def command(
    fetch: ModuleType, server: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ModuleType:
    """The script with the arguments of `fetch.py meld` set to the test server and tmp_path."""
    address = f"http://127.0.0.1:{server.server_port}"
    arguments = ["fetch.py", "meld", "--source", address, "--original_data", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    return fetch


def list_files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


def test_a_file_is_fetched_checked_and_named(
    command: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], server: http.server.HTTPServer
) -> None:
    command.main()
    assert list_files(tmp_path) == {"meld.pkl": CONTENT}
    assert capsys.readouterr().out == f"{tmp_path}/meld/meld.pkl\n"
    command.main()
    assert server.asked == 1


def test_a_broken_download_leaves_nothing_and_the_next_one_is_whole(
    command: ModuleType, tmp_path: Path, server: http.server.HTTPServer
) -> None:
    server.breaks_off_after = 100
    with pytest.raises(UserError, match=f"broke off at 100 of {len(CONTENT)} bytes|IncompleteRead"):
        command.main()
    assert list_files(tmp_path) == {}
    server.breaks_off_after = None
    command.main()
    assert list_files(tmp_path) == {"meld.pkl": CONTENT}


def test_two_at_once_both_end_well(fetch: ModuleType, server: http.server.HTTPServer, tmp_path: Path) -> None:
    path = tmp_path / "meld" / "meld.pkl"
    address = f"http://127.0.0.1:{server.server_port}/meld/meld.pkl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: fetch.fetch(fetch.PUBLIC["meld"], [address], path), range(8)))
    assert list_files(tmp_path) == {"meld.pkl": CONTENT}


def test_wrong_bytes_are_one_line_and_not_kept(
    command: ModuleType, tmp_path: Path, server: http.server.HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.content = CONTENT.replace("line 5\n", "line X\n")
    with pytest.raises(SystemExit) as caught:
        run_script(command.main)
    told = capsys.readouterr()
    assert (caught.value.code, told.out, told.err.count("\n")) == (2, "", 1)
    assert "SHA-256" in told.err and sha256_of_text(CONTENT) in told.err
    assert list_files(tmp_path) == {}
    server.content = CONTENT + "more"
    with pytest.raises(SystemExit):
        run_script(command.main)
    assert f"longer than the {len(CONTENT)} bytes that are allowed" in capsys.readouterr().err
    server.content = CONTENT
    command.main()
    assert list_files(tmp_path) == {"meld.pkl": CONTENT}


def test_the_next_address_is_tried_where_one_lacks_the_file(
    fetch: ModuleType, server: http.server.HTTPServer, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{server.server_port}"
    missing, there = f"{address}/old/meld.pkl", f"{address}/meld/meld.pkl"
    fetch.fetch(fetch.PUBLIC["meld"], [missing, there], tmp_path / "meld" / "meld.pkl")
    assert list_files(tmp_path) == {"meld.pkl": CONTENT}
    with pytest.raises(UserError, match="answers 404"):
        fetch.fetch(fetch.PUBLIC["meld"], [missing], tmp_path / "other.pkl")


def test_it_goes_where_the_other_programs_look(
    command: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv[:-2])
    monkeypatch.setenv("ERC_ORIGINAL_DATA", str(tmp_path / "elsewhere"))
    command.main()
    assert capsys.readouterr().out == f"{find_original_data('meld') / 'meld' / 'meld.pkl'}\n"
    assert list_files(tmp_path / "elsewhere") == {"meld.pkl": CONTENT}
    monkeypatch.setenv("ERC_ORIGINAL_DATA", "")
    assert command.parse_arguments().original_data == find_original_data("meld") == REPOSITORY / "original_data"


def test_another_file_of_that_name_is_left_alone(command: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "meld").mkdir()
    (tmp_path / "meld" / "meld.pkl").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="another SHA-256"):
        command.main()
    assert list_files(tmp_path) == {"meld.pkl": "mine"}


def test_default_addresses_name_the_released_repository_first(fetch: ModuleType) -> None:
    first, second = fetch.list_addresses(fetch.PUBLIC["EmoryNLP"], None)
    assert first.endswith("LIN-SHANG/InstructERC/44014f1/original_data/EmoryNLP/EmoryNLP.pkl")
    assert second.endswith("COSMIC/feature-extraction/emorynlp/emorynlp.pkl")


def test_the_readme_says_what_the_code_checks(fetch: ModuleType) -> None:
    readme = (REPOSITORY / "original_data" / "README.md").read_text(encoding="utf-8")
    published = [spec.published for spec in DATASETS.values() if spec.published]
    assert [one.path.partition("/")[0] for one in published] == ["iemocap", "meld", "EmoryNLP"]
    for one in published:
        assert f"| `{one.path}` | {one.size_bytes} | `{one.sha256}` |" in readme
    for name, spec in DATASETS.items():
        for split, size in spec.expected.items():
            cells = [name, split, size.dialogues, size.utterances, " ".join(map(str, size.per_label))]
            row = " | ".join(map(str, cells))
            assert " ".join(f"| {row} |".split()) in " ".join(readme.split()), row


@pytest.mark.real_data
@pytest.mark.parametrize("name", ["iemocap", "meld", "EmoryNLP"])
def test_the_table_describes_the_published_files(original_data: Path, name: str) -> None:
    wanted = DATASETS[name].published
    path = original_data / wanted.path
    assert (path.stat().st_size, sha256_of(path)) == (wanted.size_bytes, wanted.sha256)


# The real command


def test_without_a_network(run_code: Run, tmp_path: Path) -> None:
    # Port 9 of this machine answers nobody, as a machine without a network.
    result = run_code("original_data/fetch.py", "meld", "--source", "http://127.0.0.1:9", "--original_data", tmp_path)
    assert_one_line_error(result, "http://127.0.0.1:9/meld/meld.pkl: no answer", "README.md")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", [PermissionError, NotADirectoryError])
def test_a_folder_that_cannot_be_written_is_not_the_address_at_fault(
    command: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[OSError], capsys
) -> None:
    def refuse(folder: Path, *_arguments: object, **_options: object) -> None:
        raise fault(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(SystemExit):
        run_script(command.main)
    assert capsys.readouterr().err == f"error: {tmp_path}/meld: Permission denied\n"


@pytest.mark.parametrize(
    ("dataset", "told"),
    [("iemocap", "release form"), ("dailydialog", "README.md"), ("sample", "comes with the repository")],
)
def test_what_is_not_fetched_is_explained(run_code: Run, dataset: str, told: str) -> None:
    assert_one_line_error(run_code("original_data/fetch.py", dataset), told)


def test_bad_arguments(run_code: Run) -> None:
    assert_one_line_error(run_code("original_data/fetch.py"), "dataset is missing", "meld, EmoryNLP")
    assert_one_line_error(run_code("original_data/fetch.py", "friends"), "'friends' is not allowed")
    assert_one_line_error(run_code("original_data/fetch.py", "meld", "--source", "ftp://x"), "--source")
