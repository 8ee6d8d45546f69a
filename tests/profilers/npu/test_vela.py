"""Vela's output, read and refused; what is run here writes its files by hand."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.command.bounded_process import ProcessOutput
from proxyless_hw.profilers.device_options import VelaOptions
from proxyless_hw.profilers.npu import vela
from proxyless_hw.profilers.npu.vela import Vela
from proxyless_hw.profilers.registry import get_profiler
from proxyless_hw.space.search_space import SearchSpace

SUMMARY = {
    "system_config": "Ethos_U55_High_End_Embedded",
    "memory_mode": "Shared_Sram",
    "inference_time": "0.002",
    "sram_memory_used": "10.5",
    "on_chip_flash_memory_used": "0.0",
    "off_chip_flash_memory_used": "4.25",
    "weights_storage_area": "Off-chip Flash",
    "cycles_total": "1000",
}
ROWS = [
    ("Conv2D", "Conv2D", "NPU", "600", "first;"),
    ("Conv2D", "Relu6", "NPU", "0", "first;"),
    ("Mean", "DepthwiseConv2D", "NPU", "300", "second"),
    ("Mean", "Mul", "NPU", "100", "second"),
]
COLUMNS = ("Original Operator", "NNG Operator", "Target", "Op Cycles", "Name")


class ByHand:
    """Stands in for the process that Vela is."""

    def __init__(
        self,
        summary: dict[str, str] | None = None,
        rows: Sequence[tuple[str, ...]] = ROWS,
        output: ProcessOutput | None = None,
    ) -> None:
        self.summary = SUMMARY | (summary or {})
        self.rows = rows
        self.output = output
        self.words: list[str] = []

    def __call__(self, words: Sequence[str], seconds: float, most_bytes: int) -> ProcessOutput:
        self.words = list(words)
        if self.output is not None:
            return self.output
        folder = Path(words[words.index("--output-dir") + 1])
        place = words[words.index("--system-config") + 1]
        write(folder / f"m_summary_{place}.csv", list(self.summary), [list(self.summary.values())])
        write(folder / "m_per-layer.csv", COLUMNS, self.rows)
        return ProcessOutput("done", 0)


def write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "_has_package", lambda: True)


def test_figures_are_read_with_their_units() -> None:
    found = Vela(VelaOptions(), ByHand()).compile(Path("m.tflite"), "a net")
    assert (found.seconds, found.cycles) == (0.002, 1000)
    assert (found.sram_bytes, found.flash_bytes) == (10.5 * 1024, 4.25 * 1024)
    assert [(item.name, item.kind, item.cycles) for item in found.operators] == [
        ("first;", "Conv2D", 600),
        ("second", "Mean", 400),
    ]
    assert found.on_cpu == ()
    assert found.seconds_between(1, 0) == pytest.approx(0.0008)


def test_copies_that_the_compiler_adds_belong_to_the_ends() -> None:
    copy = ("Conv2D", "MemoryCopy", "NPU", "50", "input_buffer_")
    run = ByHand({"cycles_total": "1050"}, [copy, *ROWS])
    found = Vela(VelaOptions(), run).compile(Path("m.tflite"), "a net")
    assert [item.added for item in found.operators] == [True, False, False]
    assert found.seconds_between(1, 0) == pytest.approx(0.002 * 400 / 1050)
    assert found.seconds_between(0, 1) == pytest.approx(0.002 * 650 / 1050)
    with pytest.raises(ValueError, match="2 operators"):
        found.seconds_between(1, 1)


def test_operators_on_the_cpu_are_told() -> None:
    rows = [*ROWS, ("Softmax", "Passthrough", "CPU", "0", "third")]
    found = Vela(VelaOptions(), ByHand(rows=rows)).compile(Path("m.tflite"), "a net")
    assert [item.kind for item in found.on_cpu] == ["Softmax"]


def test_constants_in_dram_are_no_flash() -> None:
    run = ByHand({"weights_storage_area": "DRAM", "off_chip_flash_memory_used": "0.0"})
    assert Vela(VelaOptions(), run).compile(Path("m.tflite"), "a net").flash_bytes is None


def test_the_options_are_words_of_their_own(tmp_path: Path) -> None:
    run = ByHand({"system_config": "Board", "memory_mode": "Sram_Only"})
    options = VelaOptions(
        accelerator="ethos-u65-512",
        config=tmp_path / "my; board.ini",
        system_config="Board",
        memory_mode="Sram_Only",
        optimise="size",
        arena_cache_size=4096,
    )
    Vela(options, run).compile(Path("m.tflite"), "a net")
    for words in (
        ["--accelerator-config", "ethos-u65-512"],
        ["--system-config", "Board"],
        ["--memory-mode", "Sram_Only"],
        ["--optimise", "Size"],
        ["--arena-cache-size", "4096"],
        ["--config", str(tmp_path / "my; board.ini")],
    ):
        place = run.words.index(words[0])
        assert run.words[place : place + 2] == words


@pytest.mark.parametrize(
    ("accelerator", "system", "memory"),
    [
        ("ethos-u55-128", "Ethos_U55_High_End_Embedded", "Shared_Sram"),
        ("ethos-u65-256", "Ethos_U65_Client_Server", "Dedicated_Sram_384KB"),
        ("ethos-u85-2048", "Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
    ],
)
def test_what_surrounds_the_accelerator_is_stated(
    accelerator: str, system: str, memory: str
) -> None:
    compiler = Vela(VelaOptions(accelerator=accelerator))  # type: ignore[arg-type]
    stated = dict(compiler.setting)
    assert (stated["system_config"], stated["memory_mode"]) == (system, memory)
    assert compiler.device == f"Arm Ethos-U{accelerator[7:]}"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (ByHand({"cycles_total": "1500"}), "1500 cycles together, found 1000"),
        (ByHand({"memory_mode": "Other"}), "memory_mode Shared_Sram, found 'Other'"),
        (ByHand({"inference_time": "nan"}), "inference_time, found 'nan'"),
        (ByHand({"sram_memory_used": ""}), "sram_memory_used, found ''"),
        (ByHand(rows=[("Conv2D", "Conv2D", "NPU", "-1", "x")]), "Op Cycles, found '-1'"),
        (ByHand(output=ProcessOutput("", 0)), "which it did not write"),
        (ByHand(output=ProcessOutput("Traceback\nRuntimeError: no", 1)), "RuntimeError: no"),
        (ByHand(output=ProcessOutput("", -9, timed_out=True)), "timeout=SECONDS"),
    ],
)
def test_other_output_is_refused(run: ByHand, said: str) -> None:
    with pytest.raises(ProfilingError) as caught:
        Vela(VelaOptions(), run).compile(Path("m.tflite"), "a net")
    assert said in str(caught.value)
    assert "a net" in str(caught.value)


def test_a_configuration_file_needs_the_names_of_its_sections() -> None:
    with pytest.raises(ProfilingError, match="system_config=NAME"):
        Vela(VelaOptions(config=Path("board.ini")))


def test_without_the_compiler_one_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vela, "_has_package", lambda: False)
    monkeypatch.setattr(vela.shutil, "which", lambda name: None)
    profiler = get_profiler("npu", ProfilerSettings(precision="int8"))
    with pytest.raises(BackendUnavailableError, match=r"proxyless-hw\[npu\]"):
        profiler.describe()
    with pytest.raises(BackendUnavailableError, match=r"proxyless-hw\[npu\]"):
        profiler.prepare([], print)


def test_a_program_on_path_is_asked_for_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela, "_has_package", lambda: False)
    monkeypatch.setattr(vela.shutil, "which", lambda name: f"/opt/{name}")
    run = ByHand(output=ProcessOutput("5.2.0\n", 0))
    assert Vela(VelaOptions(), run).version == "5.2.0"
    assert run.words == ["/opt/vela", "--version"]


def test_onnx_files_are_refused_with_the_way_on(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"")
    with pytest.raises(ProfilingError, match="--format tflite --precision int8"):
        get_profiler("npu", ProfilerSettings(precision="int8")).open([Workload("n", file=file)])


@pytest.mark.slow
def test_sums_of_ops_are_velas_estimate_of_whole_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ops of a space, each between two convolutions, against networks compiled as one."""
    monkeypatch.undo()
    from tiny_spaces import TO_PROFILE

    import proxyless_hw as ph

    if not vela._has_package():
        pytest.skip("Vela is not installed: pip install 'proxyless-hw[npu]'")
    path = tmp_path / "tiny.yaml"
    path.write_text(TO_PROFILE)
    space = SearchSpace.load(path)
    table = ph.profile(space, device="npu", output=tmp_path / "npu.csv", quiet=True)
    sram = ph.profile(space, device="npu", metric="sram", quiet=True)
    for choices in ([0, 0, 0], [1, 1, 1]):
        arch = ph.Architecture.from_choices(space, choices)
        whole = ph.benchmark(arch, table=table, quiet=True)
        assert table.latency_ms(arch) == pytest.approx(whole.median, rel=0.03)
        peak = ph.benchmark(arch, device="npu", metric="sram", quiet=True)
        assert max(sram.entry(op).value for op in arch.ops()) == pytest.approx(
            peak.median, rel=0.05
        )
