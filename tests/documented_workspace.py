"""A folder with what the documentation's commands read: made by short runs of the tool itself.

Only what no tool here can make is made up: images, a device's logs, a vendor's tool, and the
files of other projects.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
import torchvision
from documented import ROOT, typed
from PIL import Image

from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.published import published_names
from proxyless_hw.network.network import build_network
from proxyless_hw.predictors.feasible import feasible_range
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.entry import Entry
from proxyless_hw.tables.table import LatencyTable

PUBLISHED_TABLE = """\
Conv-input:224x224x3-output:112x112x32: {count: 982, mean: 4.08, var: 0.25}
Logits-input:7x7x1280-output:1000: {count: 982, mean: 0.31, var: 0.06}
expanded_conv-input:14x14x80-output:14x14x80-expand:3-kernel:5-stride:1-idskip:1: \
{count: 407, mean: 2.13, var: 0.05}
"""
PLAIN_TABLE = """\
op,in_h,in_w,in_c,out_c,kernel,stride,expand,skip,latency_us
conv,32,32,3,16,3,2,1,0,120.5
mbconv,16,16,16,16,3,1,6,1,310
"""
VENDOR_BENCH = '#!/bin/sh\necho "mean latency: 1.25 ms"\n'
TASKSET = '#!/bin/sh\nshift\nexec "$@"\n'
# Prints what TFLite's tool prints; larger files take longer.
BENCHMARK_MODEL = """\
#!/bin/sh
for flag in "$@"; do
  case "$flag" in --graph=*) bytes=$(wc -c < "${flag#--graph=}");; esac
done
us=$((100 + bytes / 1000))
stats="first=$us curr=$us min=$us max=$us avg=$us std=1 p5=$us median=$us p95=$us"
for count in 3 50; do echo "INFO: count=$count $stats"; done
"""
SEARCHED = "--epochs 4 --warmup-epochs 6 --finalists 2"


class Workspace:
    """The folder, and running commands in it.

    Args:
        root: an empty folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HOME": str(root / "home"),
            "XDG_CACHE_HOME": str(root / "cache"),
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        }

    def run(
        self, words: list[str], environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program in the folder."""
        return subprocess.run(
            words,
            cwd=self.root,
            env={**self.environment, **(environment or {})},
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )

    def tool(self, text: str) -> None:
        """Runs the command line; it must succeed."""
        done = self.run([sys.executable, "-m", "proxyless_hw", *text.split()])
        assert done.returncode == 0, f"{text}\n{done.stderr[-3000:]}"


def prepare(root: Path) -> Workspace:
    """Makes the folder."""
    workspace = Workspace(root)
    for name, text in (
        ("vendor-bench", VENDOR_BENCH),
        ("taskset", TASKSET),
        ("benchmark_model", BENCHMARK_MODEL),
    ):
        _executable(root / "bin" / name, text)
    (root / "mobile_trim.yaml").write_text(PUBLISHED_TABLE)
    (root / "theirs.csv").write_text(PLAIN_TABLE)
    networks = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    found = re.search(r"saved as `mine.yaml`.*?```yaml\n(.*?)```", networks, re.DOTALL)
    assert found is not None
    (root / "mine.yaml").write_text(found[1])
    _checkpoint(root / "proxyless_mobile.pth")
    library = torchvision.models.mobilenet_v3_large(weights=None)
    safetensors.torch.save_file(library.state_dict(), root / "mobilenet_v3_large.safetensors")
    _image_folder(root / "imagenet", classes=1000, images=1, parts=("train", "val"))
    _image_folder(root / "flowers", classes=3, images=10, parts=("train", "val"))
    _idx_files(root / "fashion")
    workspace.tool("profile --device cpu --goal 0.5 --sessions 1 --output tables/cpu.csv")
    workspace.tool(f"search --table tables/cpu.csv {SEARCHED} --output runs/demo --force")
    for name in ("cpu", "pixel1", "search", "trained"):
        shutil.copytree(root / "runs/demo", root / "runs" / name)
    for name in ("model", "other", "net"):
        workspace.tool(
            f"export mobilenet-v2 --format onnx --resolution 64 --output {name}.onnx --no-verify"
        )
    workspace.tool(
        "export mobilenet-v2 --format tflite --resolution 64 --output model.tflite --no-verify"
    )
    for name, case in (("detector", "m02_dynamic_hw"), ("text", "m04_int64_tokens")):
        shutil.copyfile(ROOT / "tests/cases/onnx" / f"{case}.onnx", root / f"{name}.onnx")
    encoding = ROOT / "tests/cases/networks/c04_help_ofa_arch.json"
    shutil.copyfile(encoding, root / "subnet.json")
    return workspace


def device_logs(workspace: Workspace) -> None:
    """The logs that come back from a device with the bundle, which is written where it is not."""
    bundle = workspace.root / "bundle"
    if not bundle.exists():
        (text,) = (item.text for item in typed(ROOT / "docs/devices.md") if "--bundle" in item.text)
        workspace.tool(f"{text.removeprefix('proxyless-hw ')} --resolution 32")
    tool = {"BENCHMARK_MODEL": str(workspace.root / "bin" / "benchmark_model")}
    done = workspace.run(["sh", "bundle/run.sh"], tool)
    assert done.returncode == 0, done.stderr


def measured_networks(workspace: Workspace) -> None:
    """Networks with latencies such as a phone would give: the table's sum, 3% more, 1% noise."""
    table = LatencyTable.load(workspace.root / "tables/phone.csv")
    _networks(workspace, table, 32, "measured.csv", "network,measured_ms")


def timed_networks(workspace: Workspace) -> None:
    """The same for a phone that is about as fast as a Pixel 1, at that one's size."""
    _networks(workspace, LatencyTable.load("pixel1"), 224, "timed.csv", "network,value")


def energy_table(workspace: Workspace) -> None:
    """A table of energy with 12 mJ in the middle of its range: here are no energy counters."""
    table = LatencyTable.load(workspace.root / "tables/cpu.csv")
    low, high = feasible_range(SearchSpace.load("imagenet"), table)
    entries = {
        op: Entry(entry.value * 12 / (low * high) ** 0.5) for op, entry in table.entries.items()
    }
    header = {**table.metadata, "metric": "energy", "unit": "mJ"}
    LatencyTable(entries, header).save(workspace.root / "tables/cpu-energy.csv")


def parts_of_tables(workspace: Workspace) -> None:
    """Tables that have nothing in common, and two that have an op in common, at other costs."""
    table = LatencyTable.load("pixel1")
    rows = list(table.entries.items())
    shared, entry = rows[40]
    again = [(shared, Entry(1.01 * entry.value))]
    for name, part in (
        ("cpu-192", rows[:40]),
        ("cpu-224", rows[40:]),
        ("note10-160", rows[:41]),
        ("note10-224", again + rows[41:]),
    ):
        LatencyTable(dict(part), table.metadata).save(workspace.root / f"{name}.csv")


def _networks(
    workspace: Workspace, table: LatencyTable, resolution: int, name: str, header: str
) -> None:
    space = SearchSpace.load("imagenet")
    generator = np.random.default_rng(0)
    lines = [header]
    for index in range(10):
        choices = [int(generator.integers(len(slot.candidates))) for slot in space.slots]
        arch = Architecture.from_choices(space, choices, resolution=resolution)
        arch.save(workspace.root / f"network-{resolution}-{index}.json")
        noise = 1.03 + 0.01 * generator.standard_normal()
        lines.append(f"network-{resolution}-{index}.json,{table.latency_ms(arch) * noise}")
    (workspace.root / name).write_text("\n".join(lines) + "\n")


def _executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _checkpoint(path: Path) -> None:
    """Random weights under the published names."""
    network = build_network(load_architecture("proxyless-mobile"), seed=0)
    names = published_names(network)
    torch.save({names[key]: value for key, value in network.state_dict().items()}, path)


def _image_folder(folder: Path, *, classes: int, images: int, parts: tuple[str, ...]) -> None:
    generator = np.random.default_rng(1)
    for part in parts:
        for label in range(classes):
            place = folder / part / f"n{label:04d}"
            place.mkdir(parents=True)
            for number in range(images):
                pixels = generator.integers(0, 256, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{number}.png")


def _idx_files(folder: Path) -> None:
    """The four files of a set in Fashion-MNIST's form, with 256 and 64 random images."""
    folder.mkdir()
    generator = np.random.default_rng(2)
    for part, count in (("train", 256), ("t10k", 64)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for name, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{part}-{name}-ubyte").write_bytes(head + array.tobytes())
