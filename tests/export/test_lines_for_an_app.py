"""The lines of docs/exporting.md, which use nothing of ours, reach the manifest's accuracy."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_networks import SIZE, small_architecture

from proxyless_hw.data.base import DataConfig
from proxyless_hw.data.load import load_data
from proxyless_hw.export.export import ExportConfig, Target, export_network
from proxyless_hw.export.manifest import write_manifest
from proxyless_hw.export.metadata import read_metadata
from proxyless_hw.network.network import Network, build_network
from proxyless_hw.pipeline.deploy import load_images

sys.path.insert(0, str(Path(__file__).parents[1]))
from documented import ROOT, typed

CLASSES = ("a", "b", "c d", "z", "é")
SIZES = ((60, 44), (40, 90), (33, 33), (101, 50), (20, 27))


def photographs(draw: np.random.Generator) -> list[tuple[Image.Image, str, dict[str, object]]]:
    """Pictures with structure of many kinds: file, suffix, and how it is saved."""
    found: list[tuple[Image.Image, str, dict[str, object]]] = []
    for number in range(60):
        coarse = draw.integers(0, 256, (4, 4, 4), dtype=np.uint8)
        image = Image.fromarray(coarse, "RGBA").resize(SIZES[number % len(SIZES)], Image.BICUBIC)
        turned = Image.Exif()
        turned[0x112] = 1 + number % 8
        kind = number % 4
        if kind == 0:
            found.append((image, ".png", {}))
        elif kind == 1:
            found.append((image.convert("RGB"), ".jpg", {"quality": 95, "exif": turned}))
        elif kind == 2:
            found.append((image.convert("P"), ".png", {"transparency": int(draw.integers(256))}))
        else:
            found.append((image.convert("RGB").convert("CMYK"), ".jpeg", {"exif": turned}))
    return found


def save(
    pictures: list[tuple[Image.Image, str, dict[str, object]]], labels: list[int], part: Path
) -> None:
    for name in CLASSES:
        (part / name).mkdir(parents=True, exist_ok=True)
    for number, ((image, suffix, options), label) in enumerate(zip(pictures, labels, strict=True)):
        image.save(part / CLASSES[label] / f"{number:03d}{suffix}", **options)  # type: ignore[arg-type]


def network_of(root: Path) -> Network:
    """A network that has learnt a folder of pictures by heart, three labels in four of them."""
    draw = np.random.default_rng(5)
    pictures = photographs(draw)
    taught = [number % 5 for number in range(60)]
    labels = [(label + (number % 4 == 0)) % 5 for number, label in enumerate(taught)]
    save(photographs(draw), taught, root / "train")
    save(pictures, labels, root / "val")
    images, shown = test_images(root)
    # In a folder the images stand by class and name.
    order = sorted((label, number) for number, label in enumerate(labels))
    assert shown.tolist() == [label for label, _ in order]
    wanted = torch.tensor([taught[number] for _, number in order])
    network = build_network(small_architecture(), seed=1)
    with torch.no_grad():
        learn_by_heart(network, images, torch.nn.functional.one_hot(wanted).float())
        assert bool((network.eval()(images).argmax(1) == wanted).all())
    return network


def learn_by_heart(network: Network, images: torch.Tensor, wanted: torch.Tensor) -> None:
    """Sets BatchNorm's statistics to these images', and the classifier by ridge regression."""
    for part in network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0
    network.train()(images)
    held: list[torch.Tensor] = []
    classifier = network.eval().head[-1].linear
    hook = classifier.register_forward_pre_hook(lambda _, inputs: held.append(inputs[0]))
    network(images)
    hook.remove()
    features = held[0] - held[0].mean(0)
    gram = features @ features.T
    ridge = 0.01 * gram.trace() / len(gram) * torch.eye(len(gram))
    classifier.weight.copy_((features.T @ torch.linalg.solve(gram + ridge, wanted)).T)
    classifier.bias.copy_(-classifier.weight @ held[0].mean(0))


def test_images(root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    config = DataConfig(name="folder", root=str(root), resolution=SIZE, batch_size=64)
    batches = load_data(config).test.batches(0, shuffle=False, augment=False, drop_last=False)
    ((images, labels),) = batches
    return images, labels


test_images.__test__ = False  # type: ignore[attr-defined]


def run_lines(
    exports: Path, photos: Path, change: Callable[[str], str] = lambda lines: lines
) -> list[tuple[str, str]]:
    """What the page's lines say of every picture: label and class folder."""
    (lines,) = (
        item.text for item in typed(ROOT / "docs" / "exporting.md") if item.kind == "python"
    )
    for printed, place in (("runs/demo/exports", exports), ("photos/val", photos)):
        assert lines.count(f'"{printed}"') == 1
        lines = lines.replace(f'"{printed}"', repr(str(place)))
    assert "proxyless" not in lines
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(change(lines), "docs/exporting.md", "exec"), {})
    answers = [line.rsplit(" /", 1) for line in said.getvalue().splitlines()]
    return [(label, Path(f"/{path}").parent.name) for label, path in answers]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folder of the pictures, and of the exported files."""
    root = tmp_path_factory.mktemp("photos")
    folder = tmp_path_factory.mktemp("exports")
    network = network_of(root)
    config = DataConfig(name="folder", root=str(root))
    data = load_images(config, network)
    targets = [
        Target("tflite", "int8", folder / "net-int8.tflite"),
        Target("onnx", "fp32", folder / "net-fp32.onnx"),
    ]
    settings = ExportConfig(resolution=SIZE)
    files = export_network(network, targets, settings, data)
    write_manifest(folder / "manifest.json", files, network, settings)
    return root, folder


def test_the_lines_reach_the_accuracy_of_the_manifest(exported: tuple[Path, Path]) -> None:
    root, folder = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    accuracy = manifest["files"][0]["verification"]["accuracy_after"]
    assert 0.7 < accuracy < 0.8
    answers = run_lines(folder, root / "val")
    assert len(answers) == manifest["files"][0]["verification"]["images"]
    reached = np.mean([label == shown for label, shown in answers])
    assert reached == pytest.approx(accuracy)


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("ImageOps.exif_transpose(Image.open(path))", "Image.open(path)"),
        ('"white"', '"black"'),
        ('said["resize"]["pixels"] * side // min(image.size) for', 'said["crop"]["pixels"] for'),
        ("Image.Resampling.BILINEAR", "Image.Resampling.NEAREST"),
    ],
)
def test_each_rule_matters(line: str, instead: str, exported: tuple[Path, Path]) -> None:
    root, folder = exported

    def change(lines: str) -> str:
        assert line in lines
        return lines.replace(line, instead)

    right, wrong = run_lines(folder, root / "val"), run_lines(folder, root / "val", change)
    assert sum(left != other for left, other in zip(right, wrong, strict=True)) >= 1


def test_file_and_manifest_say_how_a_picture_becomes_the_input(exported: tuple[Path, Path]) -> None:
    _, folder = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry, dtype, layout in zip(
        manifest["files"], ("int8", "float32"), ("NHWC", "NCHW"), strict=True
    ):
        document = read_metadata(folder / entry["file"])
        assert document is not None
        assert entry["input"] == document["input"]
        assert entry["output"] == document["output"]
        assert entry["input"]["resize"] == {"rule": "shorter side", "pixels": round(SIZE / 0.875)}
        assert entry["input"]["crop"] == {"rule": "centre", "pixels": SIZE}
        assert entry["input"]["interpolation"] == "bilinear, antialiased"
        assert entry["input"]["orientation"] == "by the EXIF tag"
        assert entry["input"]["transparency"] == "on white"
        assert (entry["input"]["dtype"], entry["input"]["layout"]) == (dtype, layout)
        assert entry["output"]["labels"] == list(CLASSES)
        assert entry["output"]["dtype"] == dtype


def test_all_files_are_run_on_the_images_of_the_baseline(exported: tuple[Path, Path]) -> None:
    _, folder = exported
    manifest = json.loads((folder / "manifest.json").read_text())
    baseline = manifest["baseline"]
    assert baseline["network"] == "torch, float32"
    assert baseline["images"] == 60
    assert baseline["accuracy"] == pytest.approx(0.75)
    for entry in manifest["files"]:
        assert entry["verification"]["images"] == 60
        assert entry["verification"]["accuracy_before"] == baseline["accuracy"]
