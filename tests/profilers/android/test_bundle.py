"""Bundles: written here, run elsewhere, read back; nothing in the folder is trusted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standin_adb

from proxyless_hw.cli import main
from proxyless_hw.errors import ProfilingError, TableError
from proxyless_hw.profilers.android import bundle as bundle_module
from proxyless_hw.profilers.android.bundle import visited, write_bundle
from proxyless_hw.profilers.android.bundle_logs import read_bundle
from proxyless_hw.profilers.android.phone_loop import MARK
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.models.building import REFERENCE_OP
from proxyless_hw.profilers.profile import ProfileConfig, needed_ops
from proxyless_hw.space.search_space import SearchSpace

ROUNDS = 3


def dummy_files(workloads: list[Workload], _: Any, form: str, folder: Path) -> list[Path]:
    """Files without models, for tests in which nothing runs them."""
    paths = [folder / f"m{index:04d}.{form}" for index in range(len(workloads))]
    for path in paths:
        path.write_bytes(b"model")
    return paths


def config(**options: str) -> ProfileConfig:
    return ProfileConfig(
        output=Path("t.csv"),
        resolutions=(64,),
        num_classes=10,
        settings=ProfilerSettings(options=options),
    )


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of the imagenet space at 64 pixels, not yet run."""
    monkeypatch.setattr(bundle_module, "write_model_files", dummy_files)
    write_bundle(config(taskset="f0"), tmp_path / "bundle", rounds=ROUNDS)
    return tmp_path / "bundle"


@pytest.fixture
def ran(bundle: Path) -> Path:
    """The same bundle after a run with made-up times: model i takes 1000 + 10·i µs."""
    write_logs(bundle, lambda index, _: 1000 + 10 * index)
    return bundle


def write_logs(
    bundle: Path, time_us: Callable[[int, int], float], delegate_lines: str = ""
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    logs = bundle / "logs"
    logs.mkdir(exist_ok=True)
    (logs / "device.txt").write_text(
        f"bundle: {manifest['id']}\nmanufacturer: Acme\nmodel: Phone 9\nandroid: 12\n"
        "platform: chip\ntool: " + "ab" * 16 + "\ndate: 2024-01-02T03:04:05Z\n",
        encoding="utf-8",
    )
    for number, segments in enumerate(manifest["rounds"], start=1):
        text = ""
        for place, index in enumerate(visited(segments, manifest["reference"])):
            us = time_us(index, number)
            text += (
                f"\n{MARK} begin {place}\n{delegate_lines}count=1 curr={us:g}\n"
                f"count=9 first={us:g} curr={us:g} min={us:g} max={us:g} avg={us:g} std=0 "
                f"p5={us:g} median={us:g} p95={us:g}\n\n{MARK} end {place} 0\n"
            )
        (logs / f"round-{number:03d}.txt").write_text(text + f"\n{MARK} done\n", encoding="utf-8")


def test_the_logs_of_a_bundle_become_a_table(ran: Path) -> None:
    table = read_bundle(ran)
    needed = list(needed_ops(SearchSpace.load("imagenet"), config()))
    assert list(table.entries) == needed
    for index, entry in enumerate(table.entries.values()):
        assert entry.value == pytest.approx((1000 + 10 * index) / 1e3)
        assert entry.rounds == ROUNDS
    assert table.metadata["device"] == "Acme Phone 9"
    assert table.metadata["created"] == "2024-01-02T03:04:05Z"
    assert table.metadata["visit_statistic"] == "median"
    assert table.metadata["command"].startswith("taskset f0")
    assert table.num_classes == 10
    assert table.resolutions == (64,)


def test_the_header_says_what_ran_the_nodes(bundle: Path) -> None:
    ran = "Replacing 3 out of 3 node(s) with delegate (TfLiteXNNPackDelegate) node\n"
    write_logs(bundle, lambda index, _: 1000 + 10 * index, ran)
    models = len(json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))["models"])
    assert read_bundle(bundle).metadata["ran_on"] == (
        f"TfLiteXNNPackDelegate {3 * models} of {3 * models} nodes in {models} models"
    )


@pytest.mark.parametrize(
    ("delegate", "log"),
    [
        ("gpu", "gpu_asked_cpu_ran.txt"),
        ("nnapi", "gpu_asked_cpu_ran.txt"),
        ("none", "flag_unconsumed.txt"),
    ],
)
def test_a_bundle_whose_delegate_did_not_run_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delegate: str, log: str
) -> None:
    monkeypatch.setattr(bundle_module, "write_model_files", dummy_files)
    write_bundle(config(delegate=delegate), tmp_path / "bundle", rounds=1)
    text = (Path(__file__).parents[2] / "cases" / "logs" / log).read_text(encoding="utf-8")
    lines = "".join(line for line in text.splitlines(True) if "count=" not in line)
    write_logs(tmp_path / "bundle", lambda *_: 20099.5, lines)
    with pytest.raises(ProfilingError, match="TfLiteXNNPackDelegate 58 of 58 nodes"):
        read_bundle(tmp_path / "bundle")


def test_the_drift_of_the_device_is_taken_out(bundle: Path) -> None:
    # From round to round everything, the reference too, gets a tenth slower. The lower fifth of the
    # five visits to the reference, its undisturbed speed, is the second of them.
    write_logs(bundle, lambda index, number: round((1000 + 10 * index) * 1.1 ** (number - 2)))
    for index, entry in enumerate(read_bundle(bundle).entries.values()):
        assert entry.value == pytest.approx((1000 + 10 * index) / 1.1e3, rel=2e-3)
        assert entry.half_width is not None
        assert entry.half_width < 2e-3


def test_a_table_read_back_survives_its_file(ran: Path, tmp_path: Path) -> None:
    from proxyless_hw.tables.table import LatencyTable

    read_bundle(ran).save(tmp_path / "t.csv")
    assert LatencyTable.load(tmp_path / "t.csv").entries == read_bundle(ran).entries


def test_table_import_reads_a_bundle(ran: Path, tmp_path: Path) -> None:
    from proxyless_hw.tables.table import LatencyTable

    out = tmp_path / "t.csv"
    with pytest.raises(SystemExit) as exit_:
        main(["table", "import", str(ran), "--output", str(out), "--quiet"])
    assert exit_.value.code in (0, None)
    assert LatencyTable.load(out).metadata["device"] == "Acme Phone 9"


def test_rounds_differ_in_order_and_visit_every_model(bundle: Path) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    flat = [[i for segment in segments for i in segment] for segments in manifest["rounds"]]
    assert len({tuple(order) for order in flat}) == ROUNDS
    assert all(sorted(order) == sorted(flat[0]) for order in flat)
    assert manifest["models"][manifest["reference"]] == REFERENCE_OP.key


def test_finished_rounds_count_when_the_rest_was_never_run(ran: Path) -> None:
    (ran / "logs/round-002.txt").unlink()
    assert {entry.rounds for entry in read_bundle(ran).entries.values()} == {ROUNDS - 1}


def test_a_folder_that_is_not_empty_is_left_alone(bundle: Path) -> None:
    before = sorted(path.name for path in bundle.iterdir())
    with pytest.raises(ProfilingError, match="is not empty"):
        write_bundle(config(), bundle)
    assert sorted(path.name for path in bundle.iterdir()) == before


def test_a_bundle_without_logs_says_what_to_run(bundle: Path) -> None:
    (bundle / "logs").mkdir()
    with pytest.raises(TableError, match=r"cannot read .*device.txt"):
        read_bundle(bundle)
    write_logs(bundle, lambda *_: 1.0)
    for path in (bundle / "logs").glob("round-*"):
        path.unlink()
    with pytest.raises(TableError, match=r"no finished round. Run run.sh"):
        read_bundle(bundle)


def test_a_log_that_was_cut_off_is_refused(ran: Path) -> None:
    path = ran / "logs/round-002.txt"
    whole = path.read_text(encoding="utf-8")
    for share in np.linspace(0, 0.999, 40):
        path.write_text(whole[: int(len(whole) * share)], encoding="utf-8")
        with pytest.raises((TableError, ProfilingError), match=r"cut off|did not end"):
            read_bundle(ran)


def test_a_model_that_failed_on_the_device_is_named(ran: Path) -> None:
    path = ran / "logs/round-001.txt"
    path.write_text(
        path.read_text(encoding="utf-8").replace(f"{MARK} end 1 0", f"{MARK} end 1 139"),
        encoding="utf-8",
    )
    with pytest.raises(ProfilingError, match=r"failed on .*exit code 139 \(signal 11\)"):
        read_bundle(ran)


def test_logs_of_another_bundle_are_refused(ran: Path) -> None:
    path = ran / "logs/device.txt"
    path.write_text(path.read_text(encoding="utf-8").replace("bundle: ", "bundle: 0"), "utf-8")
    with pytest.raises(TableError, match="belongs to another bundle"):
        read_bundle(ran)


def test_means_and_medians_are_not_mixed(ran: Path) -> None:
    path = ran / "logs/round-003.txt"
    text = "\n".join(line.split(" p5=")[0] for line in path.read_text(encoding="utf-8").split("\n"))
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match="its rounds give mean and median"):
        read_bundle(ran)


@pytest.mark.parametrize("name", ["manifest.json", "logs", "logs/device.txt", "logs/round-001.txt"])
def test_a_symbolic_link_is_never_followed(ran: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "elsewhere"
    shutil.move(str(ran / name), target)
    (ran / name).symlink_to(target)
    with pytest.raises(TableError, match="is a symbolic link"):
        read_bundle(ran)


def test_a_pipe_in_the_place_of_a_log_is_refused(ran: Path) -> None:
    (ran / "logs/round-001.txt").unlink()
    os.mkfifo(ran / "logs/round-001.txt")
    with pytest.raises(TableError, match="is not a regular file"):
        read_bundle(ran)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "other/1"}, "schema must be"),
        ({"models": ["../../etc/passwd"]}, r"models\[0\] must be an op's key"),
        ({"models": []}, "models must be a list"),
        ({"rounds": [[[0, 1]], [[0]]]}, r"rounds\[1\] must visit the same models"),
        ({"rounds": [[[0, 0]]]}, "each once"),
        ({"rounds": [[[-1]]]}, "must hold numbers from 0"),
        ({"rounds": [[[10**9]]]}, "must hold numbers from 0"),
        ({"reference": 9999}, "reference must be a whole number"),
        ({"threads": True}, "threads must be a whole number"),
        ({"metric": "joy"}, "must be known ones"),
        ({"command": "a\nb"}, "command must be a line of text"),
        ({"options": {"delegate": "tpu"}}, "--delegate must be one of"),
        ({"resolutions": "224"}, "resolutions must be a list"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(
    ran: Path, change: dict[str, Any], message: str
) -> None:
    path = ran / "manifest.json"
    document = {**json.loads(path.read_text(encoding="utf-8")), **change}
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises((TableError, ProfilingError), match=message):
        read_bundle(ran)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"cannot read .*manifest.json"):
        read_bundle(tmp_path)
    with pytest.raises(TableError, match="a bundle must be a folder"):
        read_bundle(tmp_path / "nowhere")


def test_the_script_runs_the_models_and_can_be_started_again(bundle: Path, tmp_path: Path) -> None:
    standin_adb.install(tmp_path / "phone", times_us=[500, 510, 520])
    tool = tmp_path / "phone/root/data/local/tmp/benchmark_model"
    commands = tmp_path / "phone/commands"
    environment = {
        **os.environ,
        "BENCHMARK_MODEL": str(tool),
        "PATH": f"{commands}:{os.environ['PATH']}",
    }
    # Only one round of a few models is kept, so that the test is quick.
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    first = bundle_module.visited(manifest["rounds"][0][:1], manifest["reference"])
    script = (bundle / "run.sh").read_text(encoding="utf-8")
    for number, segments in enumerate(manifest["rounds"], start=1):
        order = visited(segments, manifest["reference"])
        listed = " ".join(f"models/m{index:04d}.tflite" for index in order)
        kept = " ".join(f"models/m{index:04d}.tflite" for index in first)
        assert listed in script
        script = script.replace(listed, kept if number == 1 else "models/m0000.tflite")
    (bundle / "run.sh").write_text(script, encoding="utf-8")
    for _ in range(2):
        subprocess.run(["sh", str(bundle / "run.sh")], env=environment, check=True)
    manifest["rounds"] = [manifest["rounds"][0][:1]]
    (bundle / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    table = read_bundle(bundle)
    assert table.metadata["device"] == "Google Pixel 1"
    assert all(0.499 < entry.value < 0.521 for entry in table.entries.values())


def test_the_script_without_a_tool_says_where_it_looked(bundle: Path) -> None:
    environment = {**os.environ, "BENCHMARK_MODEL": "/nowhere/benchmark_model"}
    result = subprocess.run(
        ["sh", str(bundle / "run.sh")], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "no benchmark_model that can be run at /nowhere/benchmark_model" in result.stderr
    assert not (bundle / "logs").exists()


def test_the_command_line_writes_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bundle_module, "write_model_files", dummy_files)
    out = tmp_path / "b"
    with pytest.raises(SystemExit) as exit_:
        main(["profile", "--device", "mobile", "--bundle", str(out), "--json"])
    assert exit_.value.code in (0, None)
    assert json.loads(capsys.readouterr().out)["models"] == len(list((out / "models").iterdir()))
    with pytest.raises(SystemExit) as exit_:
        main(["profile", "--device", "cpu", "--bundle", str(tmp_path / "c")])
    assert exit_.value.code == 1
    assert "--bundle is for --device mobile" in capsys.readouterr().err
