"""Decides the shape of every input of a model file: its own, filled where it is open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from proxyless_hw.errors import ProfilingError, did_you_mean
from proxyless_hw.profilers.model_inputs import (
    ANONYMOUS,
    FileShape,
    Filled,
    ModelInput,
    Shape,
    Size,
    declared_text,
)
from proxyless_hw.profilers.models.input_axes import batch_axis, has_image_channels, image_axes


def fill_shapes(inputs: Sequence[ModelInput], wanted: FileShape, source: str) -> Filled:
    """Decides the shape of every input.

    What the file fixes stays; what it leaves open is taken from `wanted`. An open batch that
    nobody names is 1. Nothing else has a default.

    Args:
        inputs: the inputs as the file declares them.
        wanted: what the user says.
        source: the file's name, for messages.

    Raises:
        ProfilingError: the user contradicts the file or himself, or a size stays open; the message
            names the option that decides.
    """
    filling = _Filling(inputs, source)
    filling.take_whole_shapes(wanted.input_shapes)
    filling.share_names()
    batch = filling.take_batch(wanted.batch)
    resolution = filling.take_resolution(wanted.resolution)
    filling.share_names()
    return Filled(shapes=filling.closed(), batch=batch, resolution=resolution)


class _Filling:
    """The sizes of all inputs while they are decided."""

    def __init__(self, inputs: Sequence[ModelInput], source: str) -> None:
        self.inputs = list(inputs)
        self.source = source
        self.sizes: dict[str, list[Size] | None] = {
            item.name: None if item.sizes is None else list(item.sizes) for item in inputs
        }
        self.batch_axes = {item.name: batch_axis(item) for item in inputs}
        for item in inputs:
            if 0 in (item.sizes or ()):
                self.fail(f"has an input without elements ({declared_text(item)})")

    def fail(self, reason: str) -> NoReturn:
        raise self.error(reason)

    def error(self, reason: str) -> ProfilingError:
        return ProfilingError(f"{self.source} {reason}.")

    def take_whole_shapes(self, shapes: Mapping[str, Shape]) -> None:
        names: dict[str, str] = {}
        for name, shape in shapes.items():
            item = self._find(name)
            if item.name in names:
                self.fail(
                    f"knows one input as '{names[item.name]}' and as '{name}', and --input-shape "
                    "names both. Give it once"
                )
            names[item.name] = name
            declared = item.sizes
            if declared is not None and not _agrees(declared, shape):
                self.fail(
                    f"has the input {declared_text(item)}, which --input-shape "
                    f"{name}:{','.join(map(str, shape))} contradicts"
                )
            self.sizes[item.name] = list(shape)

    def _find(self, name: str) -> ModelInput:
        if not name and len(self.inputs) == 1:
            return self.inputs[0]
        for item in self.inputs:
            if name and (name == item.name or name in item.aliases):
                return item
        names = [item.name for item in self.inputs]
        if not name:
            self.fail(
                f"has {len(names)} inputs: name one, as --input-shape NAME:1,3,224,224. "
                f"Inputs: {', '.join(names)}"
            )
        raise self.error(
            f"has no input '{name[:80]}', which --input-shape names."
            f"{did_you_mean(name, names)} Inputs: {', '.join(names)}"
        )

    def share_names(self) -> None:
        """Gives open sizes of one name the one size that is known for the name.

        A name that stands for a batch and for another size as well is ignored.
        """
        known: dict[str, int] = {}
        axes = [
            (item, axis, size)
            for item in self.inputs
            for axis, size in enumerate(item.sizes or ())
            if isinstance(size, str) and size != ANONYMOUS
        ]
        batches = {size for item, axis, size in axes if axis == self.batch_axes[item.name]}
        others = {size for item, axis, size in axes if axis != self.batch_axes[item.name]}
        shared = [entry for entry in axes if entry[2] not in batches & others]
        for item, axis, name in shared:
            size = self._at(item, axis)
            if isinstance(size, int) and known.setdefault(name, size) != size:
                self.fail(f"uses one size '{name}' that is given as {known[name]} and as {size}")
        for item, axis, name in shared:
            if isinstance(self._at(item, axis), str) and name in known:
                self._set(item, axis, known[name])

    def take_batch(self, batch: int | None) -> int | None:
        """Fills open batches and returns the batch that all inputs agree on."""
        axes = [
            (item, axis) for item in self.inputs if (axis := self.batch_axes[item.name]) is not None
        ]
        if not axes and batch is not None:
            self.fail(
                f"has no batch that --batch-size {batch} could set ({self.declared()}). Leave the "
                "option out, or give whole shapes with --input-shape"
            )
        known = {size for item, axis in axes if isinstance(size := self._at(item, axis), int)}
        if batch is not None and known - {batch}:
            self.fail(
                f"runs a batch of {', '.join(map(str, sorted(known)))} ({self.current()}), not of "
                f"{batch}. Leave --batch-size out, or bring a file with that batch or an open one"
            )
        if len(known) > 1:
            return None
        size = next(iter(known), batch or 1)
        for item, axis in axes:
            if isinstance(self._at(item, axis), str):
                self._set(item, axis, size)
        return size if axes else None

    def take_resolution(self, resolution: int | None) -> int | None:
        """Fills open heights and widths; returns the side of the one square image input."""
        images = [(item, axes) for item in self.inputs if (axes := image_axes(item)) is not None]
        if len(images) > 1:
            with_channels = [
                (item, axes) for item, axes in images if has_image_channels(item, axes)
            ]
            images = with_channels or images
        if resolution is not None and not images:
            self.fail(
                f"has no image input whose height and width --resolution {resolution} could set "
                f"({self.declared()}). Give whole shapes: --input-shape NAME:1,3,224,224"
            )
        for item, axes in images if resolution is not None else ():
            for axis in axes:
                size = self._at(item, axis)
                if isinstance(size, int) and size != resolution:
                    self.fail(
                        f"takes images of another size ({self.current()}) than --resolution "
                        f"{resolution}. Leave the option out, or bring a file of that size or an "
                        "open one"
                    )
                self._set(item, axis, resolution or size)
        if len(images) != 1:
            return None
        item, (height, width) = images[0]
        side = self._at(item, height)
        return side if isinstance(side, int) and side == self._at(item, width) else None

    def closed(self) -> dict[str, Shape]:
        """The shapes, all sizes known."""
        shapes: dict[str, Shape] = {}
        for item in self.inputs:
            sizes = self.sizes[item.name]
            known = [size for size in sizes or () if isinstance(size, int)]
            if sizes is None or len(known) != len(sizes):
                self._refuse_open(item)
            shapes[item.name] = tuple(known)
        return shapes

    def _refuse_open(self, item: ModelInput) -> NoReturn:
        sizes = self.sizes[item.name]
        form = "SIZE,SIZE,..." if sizes is None else ",".join(map(_wanted_size, sizes))
        options = f"--input-shape {item.name}:{form}"
        axes = image_axes(item)
        open_axes = [axis for axis, size in enumerate(sizes or ()) if isinstance(size, str)]
        if axes is not None and set(open_axes) <= set(axes):
            options = f"--resolution N, or {options}"
        self.fail(f"leaves sizes of its input open ({declared_text(item)}). Give them: {options}")

    def declared(self) -> str:
        return "; ".join(map(declared_text, self.inputs)) or "no inputs"

    def current(self) -> str:
        """The inputs as far as they are decided."""
        texts = [
            f"{name}: {'unknown' if sizes is None else ' x '.join(map(str, sizes)) or 'scalar'}"
            for name, sizes in self.sizes.items()
        ]
        return "; ".join(texts)

    def _at(self, item: ModelInput, axis: int) -> Size:
        sizes = self.sizes[item.name]
        return ANONYMOUS if sizes is None else sizes[axis]

    def _set(self, item: ModelInput, axis: int, size: Size) -> None:
        sizes = self.sizes[item.name]
        if sizes is not None:
            sizes[axis] = size


def _agrees(declared: Sequence[Size], shape: Shape) -> bool:
    return len(declared) == len(shape) and all(
        isinstance(size, str) or size == given for size, given in zip(declared, shape, strict=True)
    )


def _wanted_size(size: Size) -> str:
    return "SIZE" if size == ANONYMOUS else str(size).upper()
