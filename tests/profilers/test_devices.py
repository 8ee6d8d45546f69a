"""What can be profiled here."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import standin_adb

from proxyless_hw.cli import main
from proxyless_hw.profilers.devices import find_devices, instruction_sets

ARM = "processor\t: 0\nBogoMIPS\t: 38.40\nFeatures\t: fp asimd evtstrm aes asimddp i8mm\n"
X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu sse4_2 avx2 fma avx512_vnni\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ARM, ["asimd", "asimddp", "i8mm"]),
        (X86, ["sse4_2", "avx2", "fma", "avx512_vnni"]),
        ("", []),
    ],
)
def test_instruction_sets_are_those_that_matter(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert instruction_sets(tmp_path / "cpuinfo") == expected
    assert instruction_sets(tmp_path / "nowhere") == []


def test_energy_counters_are_listed(tmp_path: Path) -> None:
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    for name, text in (
        ("name", "package-0"),
        ("energy_uj", "5"),
        ("max_energy_range_uj", "100"),
    ):
        (zone / name).write_text(text, encoding="ascii")
    assert find_devices(powercap=tmp_path)["energy"] == ["RAPL package-0"]


def test_phones_are_listed_with_their_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standin_adb.install(tmp_path / "phone", devices={"A1": "device", "B2": "unauthorized"})
    monkeypatch.setenv("PATH", f"{tmp_path / 'phone'}:{os.environ['PATH']}")
    assert find_devices()["phones"] == [
        {"serial": "A1", "state": "device"},
        {"serial": "B2", "state": "unauthorized"},
    ]


def test_the_command_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["devices", "--json"])
    assert exit_.value.code in (0, None)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    found = json.loads(lines[0])
    assert found["cpu"]["cores"] == os.cpu_count()
    cpu_runtimes = {item["name"]: item for item in found["runtimes"] if item["device"] == "cpu"}
    assert cpu_runtimes["onnxruntime"]["version"] != "absent"
    assert set(cpu_runtimes) == {"onnxruntime", "litert", "torch", "openvino", "executorch"}


def test_the_command_prints_a_table_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["devices"])
    text = capsys.readouterr().out
    assert "--runtime" in text
    assert "onnxruntime" in text
    assert f"{os.cpu_count()} cores" in text
