"""Text in gzip: what is unpacked has a bound, and damage is a ValueError."""

import gzip
from pathlib import Path

import pytest

from basics import packed
from basics.packed import read_packed, write_packed


def test_equal_texts_make_equal_bytes_and_come_back(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_packed(tmp_path / name, "ö,1\n")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() and read_packed(tmp_path / "a") == "ö,1\n"


def test_damage_and_what_is_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, whole = tmp_path / "a", gzip.compress(b"x" * 1000)
    damaged = whole[:12] + bytes([whole[12] ^ 255]) + whole[13:]
    for content in (whole[:-3], damaged, b"\x1f\x8b", b"no gzip", whole[:-8] + b"\0" * 8):
        path.write_bytes(content)
        with pytest.raises(ValueError):
            read_packed(path)
    path.write_bytes(whole)
    monkeypatch.setattr(packed, "LARGEST", 999)
    with pytest.raises(ValueError, match="more than 999 bytes"):
        read_packed(path)
    monkeypatch.setattr(packed, "LARGEST", 1000)
    assert len(read_packed(path)) == 1000
