"""Model files: what they take and give, and the shape they run with."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.model_inputs import FileShape, ModelInput, Size, shape_text
from proxyless_hw.profilers.models.onnx_reader import read_onnx
from proxyless_hw.profilers.models.pte_reader import read_pte
from proxyless_hw.profilers.models.shape_filling import fill_shapes
from proxyless_hw.profilers.models.tflite_reader import TfliteInterface, read_tflite

MODEL_SUFFIXES: Final = (".onnx", ".tflite", ".pte")


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """What a model file says about itself.

    Attributes:
        path: the file.
        inputs: its inputs, as it declares them.
        num_classes: last size of its one output, where that is N x classes.
        weights: files beside it that hold its weights (ONNX external data).
        signature: name of the signature that is run, where the file has one (TFLite).
    """

    path: Path
    inputs: tuple[ModelInput, ...]
    num_classes: int | None
    weights: tuple[Path, ...] = ()
    signature: str | None = None


@dataclass(frozen=True, kw_only=True)
class FileSetting(ModelFile):
    """A model file with the shapes that it runs with.

    Attributes:
        shapes: shape of every input.
        batch_size: images per call; None where the inputs do not agree on one, or have none.
        resolution: side of its one image input, where it is square.
    """

    shapes: Mapping[str, tuple[int, ...]]
    batch_size: int | None
    resolution: int | None

    @property
    def input_shape(self) -> str:
        """The shapes in words, as ``1x3x224x224``."""
        return shape_text(self.shapes)


def model_suffix(path: str | Path) -> str | None:
    """``.onnx``, ``.tflite`` or ``.pte`` by the name of a file, in any case; None for others."""
    suffix = Path(path).suffix.lower()
    return suffix if suffix in MODEL_SUFFIXES else None


def model_with_weights(path: Path) -> list[Path]:
    """A model file and the files beside it that hold its weights, which must be copied together.

    Raises:
        ProfilingError: it cannot be read, weights are missing, or lie outside its folder.
    """
    return [path, *read_model(path).weights]


def copy_weights(path: Path, weights: Sequence[Path], folder: Path) -> None:
    """Copies the weights of a model file beside a copy of it in another folder.

    Raises:
        ProfilingError: a file cannot be copied.
    """
    for file in weights:
        beside = folder / file.relative_to(path.parent)
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, beside)
        except OSError as cause:
            raise ProfilingError(
                f"the weights of {path} cannot be copied to {folder}: {cause.strerror or cause}. "
                "Is there room?"
            ) from cause


def read_model(path: Path, signature: str | None = None) -> ModelFile:
    """Reads what a model file says about itself.

    Args:
        path: an .onnx, .tflite or .pte file.
        signature: the signature to run, for a TFLite file that has several.

    Raises:
        ProfilingError: it cannot be read or is damaged; weights beside it are missing; or which of
            its signatures to run is not known.
    """
    _refuse_pointer(path)
    suffix = model_suffix(path)
    if signature is not None and suffix in (".onnx", ".pte"):
        raise ProfilingError(
            f"--signature names a part of a TFLite file: received {signature[:80]!r} with "
            f"{path}. Leave it out."
        )
    if suffix == ".pte":
        pte = read_pte(path)
        return ModelFile(path=path, inputs=pte.inputs, num_classes=_classes(pte.outputs))
    if suffix == ".onnx":
        onnx = read_onnx(path)
        return ModelFile(
            path=path,
            inputs=onnx.inputs,
            num_classes=_classes(onnx.outputs),
            weights=tuple(_beside(path, name) for name in onnx.weights),
        )
    try:
        content = path.read_bytes()
    except OSError as cause:
        raise ProfilingError(f"cannot read {path}: {cause.strerror or cause}.") from cause
    tflite = read_tflite(content, str(path))
    return ModelFile(
        path=path,
        inputs=tflite.inputs,
        num_classes=_classes(tflite.outputs),
        signature=_signature(tflite, signature, path),
    )


def file_setting(path: Path, shape: FileShape | None, batch_size: int = 1) -> FileSetting:
    """Decides the shapes that a file runs with. Runners and commands both use it.

    Args:
        path: an .onnx, .tflite or .pte file.
        shape: what the user says; None where nobody was asked.
        batch_size: the setting's batch, which counts as said when `shape` is None and it is not 1.

    Raises:
        ProfilingError: the file cannot be read, the user contradicts it, or a size stays open.
    """
    wanted = shape or FileShape(batch=None if batch_size == 1 else batch_size)
    model = read_model(path, wanted.signature)
    filled = fill_shapes(model.inputs, wanted, str(path))
    return FileSetting(
        **vars(model),
        shapes=filled.shapes,
        batch_size=filled.batch,
        resolution=filled.resolution,
    )


def shapes_by_file(files: Sequence[Path], wanted: FileShape) -> dict[Path, FileShape]:
    """Gives every file the --input-shape options that name one of its inputs.

    Raises:
        ProfilingError: a file cannot be read, or an option names an input of no file.
    """
    if len(files) == 1 or not wanted.input_shapes:
        return dict.fromkeys(files, wanted)
    unused = set(wanted.input_shapes) - {""}
    shapes = {}
    for file in files:
        inputs = read_model(file, wanted.signature).inputs
        names = {"", *(name for item in inputs for name in (item.name, *item.aliases))}
        own = {name: shape for name, shape in wanted.input_shapes.items() if name in names}
        unused -= set(own)
        shapes[file] = replace(wanted, input_shapes=own)
    if unused:
        raise ProfilingError(
            f"--input-shape names inputs that no file has: {', '.join(sorted(unused))[:200]}."
        )
    return shapes


def check_classes(path: Path, setting: FileSetting, num_classes: int | None) -> None:
    """Refuses classes that are not a file's own.

    Raises:
        ProfilingError: the file has other classes than asked for, or does not tell.
    """
    if num_classes is not None and num_classes != setting.num_classes:
        has = "does not tell its classes"
        if setting.num_classes is not None:
            has = f"has {setting.num_classes} classes"
        raise ProfilingError(
            f"{path} {has}, and --num-classes {num_classes} cannot change a file. Leave the option "
            "out, or export the network again."
        )


def check_runs_as_it_is(path: Path, setting: FileSetting, device: str) -> None:
    """Refuses a file with open sizes on a device that runs files as they are.

    Raises:
        ProfilingError: a size is open and not what the file stores.
    """
    for item in setting.inputs:
        is_open = item.sizes is None or any(isinstance(size, str) for size in item.sizes)
        if is_open and item.stored != setting.shapes[item.name]:
            raise ProfilingError(
                f"--device {device} runs a file as it is, and {path} leaves sizes open: it would "
                f"not run with {setting.input_shape}. Write these sizes into the file, or use "
                "--device cpu, which resizes it."
            )


def _refuse_pointer(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            beginning = stream.read(40)
    except OSError as cause:
        raise ProfilingError(f"cannot read {path}: {cause.strerror or cause}.") from cause
    if beginning.startswith(b"version https://git-lfs"):
        raise ProfilingError(f"{path} is a pointer of Git LFS, not the model. Run: git lfs pull")


def _beside(path: Path, name: str) -> Path:
    """A file of weights; it must lie in the model's folder or below."""
    beside = path.parent / name
    inside = beside.resolve().is_relative_to(path.parent.resolve())
    if not name or Path(name).is_absolute() or not inside:
        raise ProfilingError(
            f"{path} keeps weights in {name[:200]!r}, outside its own folder. Save the model again "
            "with its weights beside it."
        )
    if not beside.is_file():
        raise ProfilingError(
            f"{path} keeps its weights in {beside}, which is not there. Put that file beside it."
        )
    return beside


def _classes(outputs: tuple[tuple[Size, ...] | None, ...]) -> int | None:
    sizes = outputs[0] if len(outputs) == 1 else None
    if sizes is None or len(sizes) != 2 or not isinstance(sizes[1], int):
        return None
    return sizes[1]


def _signature(tflite: TfliteInterface, wanted: str | None, path: Path) -> str | None:
    """Name of the signature that runs: the first graph is what interpreters run."""
    known = {item.name: item.graph for item in tflite.signatures}
    if wanted is not None and wanted not in known:
        raise ProfilingError(
            f"{path} has no signature '{wanted[:80]}', which --signature names. It has: "
            f"{', '.join(known) or 'none'}."
        )
    first = [name for name, graph in known.items() if graph == 0]
    if wanted is None and set(known.values()) <= {0}:
        return first[0] if len(first) == 1 else None
    if wanted is None:
        raise ProfilingError(
            f"{path} has several signatures ({', '.join(known)}), and none of them was "
            f"chosen. {_runnable(first)}"
        )
    if known[wanted] != 0:
        raise ProfilingError(
            f"signature '{wanted}' of {path} is not the first graph of the file, the one that is "
            f"run here. Write a file that holds it alone. {_runnable(first)}"
        )
    return wanted


def _runnable(first: Sequence[str]) -> str:
    if not first:
        return "The first graph of the file, which is run here, belongs to none of them."
    return f"The first graph of the file is run with --signature {first[0]}."
