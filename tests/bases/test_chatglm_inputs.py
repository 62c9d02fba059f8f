"""What ChatGLM-6B derives from its input ids: positions, mask and rotations, written down by hand."""

import pytest
import torch

from bases.chatglm.inputs import Marks, derive_positions, rotary_tables, visible_keys

pytestmark = pytest.mark.numeric

PAD, MASK, GMASK, SOP = 3, 40, 41, 44


def test_positions_and_mask_of_a_padded_row() -> None:
    ids = torch.tensor([[PAD, PAD, 7, 9, GMASK, SOP, 8, 10]])
    real = (ids != PAD).long()
    positions = derive_positions(ids, real, Marks(SOP, GMASK, MASK))
    assert positions[0].tolist() == [[0, 0, 0, 1, 2, 2, 2, 2], [0, 0, 0, 0, 0, 1, 2, 3]]
    visible = visible_keys(positions, real)[0, 0].int().tolist()
    prompt = [0, 0, 1, 1, 1, 0, 0, 0]
    assert visible[2:5] == [prompt] * 3  # in both directions
    assert visible[5:] == [[0, 0, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 0], [0, 0, 1, 1, 1, 1, 1, 1]]
    assert all(row[place] for place, row in enumerate(visible))  # padding sees itself, so nothing is 0 / 0


def test_positions_follow_the_first_mark() -> None:
    marks = Marks(SOP, GMASK, MASK)
    for row, places in (
        ([MASK, 7, GMASK, SOP, 8], [0, 1, 2, 2, 2]),
        ([7, MASK, 9, SOP, 8], [0, 1, 2, 1, 1]),
        ([7, GMASK, GMASK, SOP, 8], [0, 1, 2, 1, 1]),
        ([7, 9, 11, SOP, 8], [0, 1, 2, 3, 4]),
        ([7, 9, 11, 8, 8], [0, 1, 2, 3, 4]),
    ):
        ids = torch.tensor([row])
        assert derive_positions(ids, torch.ones_like(ids), marks)[0, 0].tolist() == places


def test_rotations_have_the_published_frequencies() -> None:
    """Those of chatglm-6b are kept in fp16: the second of 32 is 0.75, not 10000 ** (-1 / 32) = 0.7499."""
    cos, sin = rotary_tables(torch.tensor([[[0, 3], [1, 2]]]), 64, torch.float32)
    assert cos.shape == sin.shape == (1, 1, 2, 2, 64)
    angles = torch.tensor([[0.0, 0.75], [2.25, 1.5]])
    for half in (1, 33):
        torch.testing.assert_close(cos[0, 0, :, :, half], angles.cos(), atol=1e-7, rtol=0)
        torch.testing.assert_close(sin[0, 0, :, :, half], angles.sin(), atol=1e-7, rtol=0)
