"""Linear layers that read the same input, with LoRA, forward and backward: their products grouped in four ways.

Of n nodes x is (n, inputs), the gradient of what the layers give (n, outputs of all, side by side). W, A and B of a
layer are `weight` (outputs, inputs), `a` (rank, inputs), `b` (outputs, rank); W is frozen, and LoRA's scale is 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from engine.layers import lora_backward, lora_forward

SCALE = 1.0
WIDTH_OF_A_TILE = 32  # bf16 numbers that a processor's matrix unit takes at once: what LoRA adds is padded to them


@dataclass(frozen=True)
class Layer:
    """A linear layer and its adapter."""

    weight: Tensor
    a: Tensor
    b: Tensor

    @classmethod
    def draw(cls, inputs: int, outputs: int, rank: int, dtype: torch.dtype) -> "Layer":
        """Random ones."""
        shapes = (outputs, inputs), (rank, inputs), (outputs, rank)
        return cls(*((torch.randn(shape) * inputs**-0.5).to(dtype) for shape in shapes))


class Way(Protocol):
    """How a group of layers is computed; made of the layers once, as the weights of a model are."""

    def __init__(self, layers: Sequence[Layer]) -> None: ...

    def prepare(self, x: Tensor, gradient: Tensor) -> Any:
        """What `run` reads, laid out as the operations before it could leave it."""

    def run(self, prepared: Any) -> tuple[list[Tensor], Tensor]:
        """What the layers give, side by side or layer by layer, and the gradient of x; A's and B's are computed too."""


class Apart:
    """Layer by layer, as the engine computes them: B's product is added in place, the gradients of x are summed."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def prepare(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, list[Tensor]]:
        parts = gradient.split([len(layer.weight) for layer in self.layers], dim=1)
        return x, [part.contiguous() for part in parts]

    def run(self, prepared: tuple[Tensor, list[Tensor]]) -> tuple[list[Tensor], Tensor]:
        x, gradients = prepared
        found = [lora_forward(x, x, one.weight, None, one.a, one.b, SCALE) for one in self.layers]
        d_x = None
        for one, (_, inner), gradient in zip(self.layers, found, gradients, strict=True):
            of_one, _, _ = lora_backward(gradient, x, inner, one.weight, one.a, one.b, SCALE, True)
            d_x = of_one if d_x is None else d_x.add_(of_one)
        return [output for output, _ in found], d_x


class Together:
    """W of all layers in one product, A of all in another, and B of all, each in its rows and columns, in a third."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.weight = torch.cat([one.weight for one in layers])
        self.a = torch.cat([one.a for one in layers])
        self.b = torch.block_diag(*(one.b for one in layers))

    def prepare(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return x, gradient

    def run(self, prepared: tuple[Tensor, Tensor]) -> tuple[list[Tensor], Tensor]:
        x, gradient = prepared
        output, inner = lora_forward(x, x, self.weight, None, self.a, self.b, SCALE)
        d_x, _, _ = lora_backward(gradient, x, inner, self.weight, self.a, self.b, SCALE, True)
        return [output], d_x


class Bordered:
    """LoRA inside the product: x and A's product beside it times [W | B], in one, forward and backward.

    All lies in one buffer [[W, B], [A, 0]]; x and the gradient come with room for A's and B's products at their right.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        together = Together(layers)
        self.outputs, self.inputs = together.weight.shape
        rank = -len(together.a) // WIDTH_OF_A_TILE * -WIDTH_OF_A_TILE
        self.buffer = together.weight.new_zeros(self.outputs + rank, self.inputs + rank)
        self.buffer[: self.outputs, : self.inputs] = together.weight
        self.buffer[: self.outputs, self.inputs : self.inputs + len(together.a)] = together.b
        self.buffer[self.outputs : self.outputs + len(together.a), : self.inputs] = together.a
        self.rank = rank

    def prepare(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        room = x.new_zeros(len(x), self.rank)
        return torch.cat([x, room], 1), torch.cat([gradient, room], 1)

    def run(self, prepared: tuple[Tensor, Tensor]) -> tuple[list[Tensor], Tensor]:
        x, gradient = prepared
        inputs, outputs, buffer = self.inputs, self.outputs, self.buffer
        x[:, inputs:] = x[:, :inputs] @ buffer[outputs:, :inputs].t()
        output = x @ buffer[:outputs].t()
        gradient[:, outputs:] = gradient[:, :outputs] @ buffer[:outputs, inputs:]
        d_x = gradient @ buffer[:, :inputs]
        gradient[:, outputs:].t() @ x[:, :inputs]  # A's gradient, and B's in the blocks of the next
        x[:, inputs:].t() @ gradient[:, :outputs]
        return [output], d_x


class Bare:
    """W of all layers in one product, without LoRA: what no way of adding it can go below."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.weight = torch.cat([one.weight for one in layers])

    def prepare(self, x: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return x, gradient

    def run(self, prepared: tuple[Tensor, Tensor]) -> tuple[list[Tensor], Tensor]:
        x, gradient = prepared
        return [x @ self.weight.t()], gradient @ self.weight


WAYS: dict[str, type[Way]] = {
    "each layer by itself, as in the engine": Apart,
    "layers of one input together": Together,
    "together, LoRA inside the product": Bordered,
    "together, without LoRA": Bare,
}
