"""What decides the photographs of the page, as one digest, which each of them carries in a text chunk of its PNG."""

import ast
import hashlib
import io
import re
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from basics.files import find_repository, sha256_of
from own_dialogues.shipped import ADAPTERS

CHUNK = "Shows"  # the keyword of the chunk
CHECKPOINT = "meld"
# File -> the window: width and height in pixels, whether it is a phone's.
WINDOWS = {"page.png": (1280, 1000, False), "page_phone.png": (390, 1180, True)}
# What words and draws the page; code counts without comments and docstrings.
SOURCES = (
    "demo/app.py",
    "demo/page_*.py",
    "demo/emotion_*.py",
    "demo/page.css",
    "demo/histories.csv",
    "code/own_dialogues/facts.py",
    "code/results/figures.py",
)
DIALOGUE = "demo/dialogue.txt"  # of which the page begins with the first
# The answer follows from these, so no model is asked, whose last digits are another processor's.
ANSWERED_BY = ("adapter_model.safetensors", "erc_config.json", "transitions.json", "results.json", "elsewhere.json")
LOCK, DRAWN_BY = "envs/constraints.txt", ("gradio", "matplotlib")


def digest_shown() -> str:
    """SHA-256 of all that the photographs show, in hexadecimal digits."""
    return hashlib.sha256("\n".join(_shown(find_repository())).encode()).hexdigest()


def sign(png: bytes) -> bytes:
    """The same pixels with the digest of today beside them."""
    info, written = PngInfo(), io.BytesIO()
    info.add_text(CHUNK, digest_shown())
    with Image.open(io.BytesIO(png)) as picture:
        picture.save(written, "PNG", pnginfo=info, optimize=True)
    return written.getvalue()


def signed(path: Path) -> str | None:
    """The digest that a PNG carries; None: it carries none."""
    with Image.open(path) as picture:
        return picture.text.get(CHUNK)


def _shown(root: Path) -> Iterator[str]:
    yield repr(WINDOWS)
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            yield path.name
            yield "".join(_meaning(ast.parse(text))) if path.suffix == ".py" else text
    yield (root / DIALOGUE).read_text(encoding="utf-8").partition("\n\n")[0]
    folder = root / ADAPTERS / CHECKPOINT
    yield from (sha256_of(folder / name) for name in ANSWERED_BY)
    locked = (root / LOCK).read_text(encoding="utf-8")
    yield from (re.search(rf"^{name}==.*", locked, re.MULTILINE)[0] for name in DRAWN_BY)


def _meaning(node: ast.AST) -> Iterator[str]:
    """A tree in words that every Python has for it: without docstrings, places, and fields that are empty."""
    yield f"{type(node).__name__}("
    for name, value in ast.iter_fields(node):
        values = value if isinstance(value, list) else [value]
        for one in values:
            if isinstance(one, ast.AST):
                if not _is_docstring(one):
                    yield from _meaning(one)
            elif one is not None:
                yield f"{name}={one!r},"
    yield ")"


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
