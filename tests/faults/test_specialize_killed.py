"""`specialize` from start to end, and killed within each stage: the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_photos import make_photos
from tiny_spaces import TO_PROFILE

# Runs the command, and kills the process when a function has been called so often.
KILLER = """
import os, signal, sys
import proxyless_hw
from importlib import import_module
place, name, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
if place != "-":
    module, _, owner = place.partition(":")
    holder = import_module(module)
    holder = getattr(holder, owner) if owner else holder
    real, count = getattr(holder, name), 0
    def killed(*arguments, **more):
        global count
        count += 1
        if count >= calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **more)
    setattr(holder, name, killed)
from proxyless_hw.cli import main
main(sys.argv[4:])
"""

# Stage, and the call at which its process ends: within the stage, after it has left something.
MOMENTS = {
    "profile": ("proxyless_hw.profilers.protocol.journal:Journal", "append", 2),
    "calibrate": ("proxyless_hw.search.verify", "save_calibration", 1),
    "search": ("proxyless_hw.search.loop:SearchLoop", "finish_epoch", 3),
    "finalists": ("proxyless_hw.search.verify", "measure_for", 2),
    "train": ("proxyless_hw.train.loop:TrainLoop", "finish_epoch", 2),
    "export": ("proxyless_hw.export.export", "quantise_tflite", 2),
    "verify": ("proxyless_hw.pipeline.specialized_files", "measure_stage", 1),
    "report": ("proxyless_hw.pipeline.specialize", "write_report", 1),
}


def run(folder: Path, moment: tuple[str, str, int] = ("-", "-", 0)) -> tuple[int, str, str]:
    """Runs the command in a folder, killed at a moment or not."""
    place, name, calls = moment
    command = [
        *(sys.executable, "-c", KILLER, place, name, str(calls)),
        *("specialize", "--data-root", "photos", "--space", "tiny.yaml", "--resolution", "32"),
        *("--budget", "2m", "--output", "run", "--json"),
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_killed_within_every_stage_the_same_command_goes_on(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 20)
    (tmp_path / "tiny.yaml").write_text(TO_PROFILE)
    finished: list[str] = []
    for stage, moment in MOMENTS.items():
        code, _, err = run(tmp_path, moment)
        assert code == -signal.SIGKILL, f"{stage}: {code} {err[-2000:]}"
        stages = json.loads((tmp_path / "run/stages.json").read_text())["stages"]
        done = [name for name, item in stages.items() if item["done"]]
        assert done[: len(finished)] == finished, f"{stage}: {done}"
        assert "changed since then" not in err
        finished = done
    assert finished == ["profile", "calibrate", "search", "train", "export", "verify"]
    code, out, err = run(tmp_path)
    document = json.loads(out)
    assert code == (1 if document["verdict"] == "missed" else 0), err[-2000:]
    assert err.count("done before") == len(finished)
    assert {(item["format"], item["precision"]) for item in document["files"]} == {
        ("onnx", "fp32"), ("tflite", "fp32"), ("tflite", "int8"),
    }  # fmt: skip


@pytest.mark.slow
def test_a_folder_of_300_photos_becomes_a_verified_int8_file(tmp_path: Path) -> None:
    """One command on the imagenet space; the verdict is about the network's speed, not ours."""
    make_photos(tmp_path / "photos", 100)
    done = subprocess.run(
        [sys.executable, "-m", "proxyless_hw", "specialize", "--data-root", "photos",
         "--output", "run", "--json"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ),
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr[-2000:]
    assert document["verdict"] in ("agrees", "undecided")
    assert document["test_images"] == 60
    (int8,) = [item for item in document["files"] if item["precision"] == "int8"]
    assert (tmp_path / "run" / int8["file"]).stat().st_size == int8["bytes"]
    assert int8["top1_agreement"] > 0.5
    onnx = document["files"][0]  # how well it does depends on the epochs that the machine allows
    assert onnx["accuracy"] == pytest.approx(document["accuracy"], abs=1 / 60)
