"""How threads wait: set before torch loads, the user's own setting kept, tables say what it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from proxyless_hw.export.onnx_file import onnx_bytes
from proxyless_hw.export.runtimes import onnx_outputs
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.runtimes import torch_cpu
from proxyless_hw.profilers.runtimes.onnxruntime_session import make_session
from proxyless_hw.threads import ORT_SPINNING, USER_SETTINGS, WAITING, settle


def test_the_spin_count_is_set_where_the_user_set_nothing() -> None:
    environment = {"PATH": "/bin"}
    assert settle(environment, set()) == "GOMP_SPINCOUNT=1000"
    assert environment == {"PATH": "/bin", "GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("name", USER_SETTINGS)
def test_what_the_user_set_stays_alone(name: str) -> None:
    environment = {name: "7"}
    assert settle(environment, set()) == f"{name}=7"
    assert environment == {name: "7"}


def test_with_torch_loaded_nothing_is_set_and_nothing_is_claimed() -> None:
    environment: dict[str, str] = {}
    assert settle(environment, {"torch"}) == "runtime's default"
    assert environment == {}


def openmp_reports(code: str, **settings: str) -> tuple[str, list[str]]:
    """What a fresh process prints, and the spin counts that its OpenMP libraries report."""
    plain = {name: value for name, value in os.environ.items() if name not in USER_SETTINGS}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**plain, **settings, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout, [line for line in done.stderr.splitlines() if "GOMP_SPINCOUNT" in line]


def test_the_library_that_torch_loads_has_it() -> None:
    if "libgomp" not in Path("/proc/self/maps").read_text():
        pytest.skip("this torch brings another OpenMP library than libgomp")
    assert openmp_reports("import proxyless_hw, torch")[1] == ["  GOMP_SPINCOUNT = '1000'"]
    # That library alone: it is asked the same, and loads at once.
    lines = Path("/proc/self/maps").read_text().splitlines()
    library = next(line.split(maxsplit=5)[5] for line in lines if "libgomp" in line)
    code = f"import proxyless_hw, ctypes; ctypes.CDLL({library!r})"
    assert openmp_reports(code)[1] == ["  GOMP_SPINCOUNT = '1000'"]
    assert openmp_reports(code, GOMP_SPINCOUNT="5")[1] == ["  GOMP_SPINCOUNT = '5'"]


def test_importing_torch_first_is_silent() -> None:
    code = "import torch, proxyless_hw, os; print('GOMP_SPINCOUNT' in os.environ)"
    out, reported = openmp_reports(code)
    assert out == "False\n"
    assert "  GOMP_SPINCOUNT = '1000'" not in reported


def test_a_torch_table_of_several_threads_says_how_they_wait() -> None:
    one = torch_cpu.TorchCpuProfiler(ProfilerSettings(threads=1)).describe()
    two = torch_cpu.TorchCpuProfiler(ProfilerSettings(threads=2)).describe()
    assert "waiting" not in one  # one thread waits for nobody
    assert two["waiting"] == WAITING


def model() -> bytes:
    return onnx_bytes(torch.nn.Conv2d(3, 4, 3).eval(), (1, 3, 8, 8))


def spinning(session: object) -> str:
    options = session.get_session_options()  # type: ignore[attr-defined]
    try:
        return str(options.get_session_config_entry(ORT_SPINNING))
    except RuntimeError:  # never set
        return "default"


def test_a_timed_session_keeps_the_runtimes_own_waiting_and_others_do_not_spin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import onnxruntime

    assert spinning(make_session(model(), 2, "timed")) == "default"
    assert spinning(make_session(model(), 2, "prepared", spin=False)) == "0"
    opened = []

    class Recorded(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            opened.append(self)

    monkeypatch.setattr(onnxruntime, "InferenceSession", Recorded)
    image = torch.zeros(1, 3, 8, 8).numpy()
    assert onnx_outputs(model(), image).shape == (1, 4, 6, 6)
    assert [spinning(session) for session in opened] == ["0"]
