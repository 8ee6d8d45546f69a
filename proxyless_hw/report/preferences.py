"""What a network prefers: kernel, expansion and depth by stage, down-sampling blocks apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.op_names import CONVOLUTION_BLOCKS
from proxyless_hw.space.specs import LayerSpec, has_expansion, op_variant


@dataclass(frozen=True)
class StagePreference:
    """The choices of one stage.

    Attributes:
        channels: width of the stage.
        resolution: side of its maps in pixels.
        present, positions: blocks that are there, and that could be.
        kernel, expand: means over the blocks that are there.
    """

    channels: int
    resolution: int
    present: int
    positions: int
    kernel: float
    expand: float


@dataclass(frozen=True)
class Preferences:
    """The choices of a network, as the paper discusses them (section 4.3).

    Attributes:
        stages: one entry per stage with a block in it.
        depth, positions: blocks that are there, and that could be.
        kernel, expand: means over all inverted bottlenecks.
        down_kernel, down_expand: means over the down-sampling ones; None without any.
        other_kernel, other_expand: means over the rest; None without any.
    """

    stages: tuple[StagePreference, ...]
    depth: int
    positions: int
    kernel: float
    expand: float
    down_kernel: float | None
    down_expand: float | None
    other_kernel: float | None
    other_expand: float | None

    def sentences(self) -> list[str]:
        """The comparison of down-sampling blocks with the others, and the depth, in words."""
        lines = [f"{self.depth} of {self.positions} blocks are there."]
        if self.down_kernel is not None and self.other_kernel is not None:
            assert self.down_expand is not None
            assert self.other_expand is not None
            lines.append(
                f"Down-sampling blocks: mean kernel {self.down_kernel:.1f} against "
                f"{self.other_kernel:.1f} elsewhere, mean expansion {self.down_expand:.1f} "
                f"against {self.other_expand:.1f}."
            )
        return lines


def preferences(arch: Architecture) -> Preferences | None:
    """Sums up a network's inverted bottlenecks; None where it has none.

    A stage is a run of blocks with one width; the first block, whose expansion is fixed at 1 in
    the published spaces, belongs to the depth but not to the means.
    """
    stages: list[StagePreference] = []
    group: list[LayerSpec] = []
    side = arch.resolution
    for layer in arch.stem:
        side, _ = layer.output_size(side, side)
    for layer in arch.blocks:
        if group and layer.out_c != group[-1].out_c:
            stages.extend(_stage(group, side))
            group = []
        side, _ = layer.output_size(side, side)
        group.append(layer)
    stages.extend(_stage(group, side))
    chosen = [layer for layer in arch.blocks if _counts(layer)]
    if not chosen:
        return None
    down = [layer for layer in chosen if layer.stride == 2]
    other = [layer for layer in chosen if layer.stride == 1]
    return Preferences(
        stages=tuple(stages),
        depth=arch.depth,
        positions=len(arch.blocks),
        kernel=_mean([layer.largest_kernel for layer in chosen]),
        expand=_mean([layer.expand for layer in chosen]),
        down_kernel=_mean([layer.largest_kernel for layer in down]) if down else None,
        down_expand=_mean([layer.expand for layer in down]) if down else None,
        other_kernel=_mean([layer.largest_kernel for layer in other]) if other else None,
        other_expand=_mean([layer.expand for layer in other]) if other else None,
    )


def _counts(layer: LayerSpec) -> bool:
    base = op_variant(layer.op).base
    return base in CONVOLUTION_BLOCKS or (base == "mbconv" and has_expansion(layer))


def _stage(group: Sequence[LayerSpec], side: int) -> list[StagePreference]:
    chosen = [layer for layer in group if _counts(layer)]
    if not chosen:
        return []
    return [
        StagePreference(
            channels=group[-1].out_c,
            resolution=side,
            present=sum(not layer.is_zero for layer in group),
            positions=len(group),
            kernel=_mean([layer.largest_kernel for layer in chosen]),
            expand=_mean([layer.expand for layer in chosen]),
        )
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
