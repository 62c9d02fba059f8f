"""The header of a safetensors file, and what is none."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from bases.tensor_files import read_header, refuse_cut
from basics.errors import UserError


def test_a_header_tells_shapes_and_where_values_begin(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"w": torch.ones(2, 3), "b": torch.zeros(())}, {"format": "pt"}))
    tensors, values_at = read_header(path)
    assert {name: told["shape"] for name, told in tensors.items()} == {"w": [2, 3], "b": []}
    assert path.stat().st_size - values_at == 7 * 4


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not JSON|Expecting|whole"),
        (b"\xff" * 8 + b"{}", "its header has"),
        ((3).to_bytes(8, "little") + b"{}", "its header has 3 bytes"),
        ((2).to_bytes(8, "little") + b"[]", "no whole"),
        ((2).to_bytes(8, "little") + b"{x", "Expecting"),
    ],
)
def test_what_is_no_header_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_header(path)


@pytest.mark.parametrize("shape", [None, "2", [2.0], [True], [-1], {}])
def test_shapes_are_lists_of_sizes(tmp_path: Path, shape: object) -> None:
    header = json.dumps({"w": {"shape": shape}}).encode()
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(UserError, match="no whole safetensors file"):
        read_header(tmp_path / "a")


@pytest.mark.parametrize("offsets", [None, [], [9], "0, 9"])
def test_a_file_that_is_cut_or_tells_no_ends(tmp_path: Path, offsets: object) -> None:
    path = tmp_path / "a"
    header = json.dumps({"w": {"shape": [9], "data_offsets": [0, 9]}, "v": {"shape": [], "data_offsets": offsets}})
    whole = len(header).to_bytes(8, "little") + header.encode() + b"*" * 9
    path.write_bytes(whole)
    refuse_cut(path)
    path.write_bytes(whole[:-1])
    with pytest.raises(UserError, match="of .* bytes"):
        refuse_cut(path)
