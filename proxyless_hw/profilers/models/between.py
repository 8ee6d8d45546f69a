"""An op between two 1x1 convolutions, which stand for the network around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from torch import Tensor, nn

AFTER_CHANNELS: Final = 16


def between_convolutions(
    module: nn.Module, in_c: int, out_c: int, *, first: bool, last: bool
) -> Any:
    """Wraps an op between the layers that stand in for the rest of a network.

    Args:
        module: the op.
        in_c, out_c: its input and output channels.
        first: the op takes the network's own input, so nothing stands before it.
        last: the op gives the network's own output, so nothing stands after it.
    """
    from torch import nn

    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # The activation keeps ONNX Runtime from folding the op's own first layer into it.
            self.before = None if first else nn.Sequential(nn.Conv2d(in_c, in_c, 1), nn.ReLU())
            self.module = module
            self.after = None if last else nn.Conv2d(out_c, AFTER_CHANNELS, 1)

        def forward(self, x: Tensor) -> Tensor:
            if self.before is not None:
                x = self.before(x)
            x = self.module(x)
            return x if self.after is None else self.after(x)

    return Between().eval()
