"""The options of the built-in profilers, one frozen dataclass per profiler.

They stand apart from the profilers so that the command line and the documentation can list them
without loading any runtime.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.options import DeviceOptions, Option, described_options, option

Cache = Literal["network", "hot", "cold"]
TimeUnit = Literal["ns", "us", "ms", "s"]

_TIMED = ("latency",)


@dataclass(frozen=True, slots=True)
class OptionFlag:
    """A command line flag that stands for an option of one or several profilers.

    Attributes:
        name: the option's name.
        flag: as people type it.
        metavar: the choices, or what the value is.
        help: one line for people.
    """

    name: str
    flag: str
    metavar: str
    help: str


def option_flags() -> list[OptionFlag]:
    """Every option that has a flag of its own; the same name is one flag for all profilers."""
    found: dict[str, list[Option]] = {}
    for cls in (CpuOptions, LiteRtOptions, MobileOptions, CommandOptions):
        for item in described_options(cls):
            if item.flag is not None:
                found.setdefault(item.name, []).append(item)
    flags = []
    for name, items in found.items():
        choices = dict.fromkeys(choice for item in items for choice in item.choices)
        text = max((item.help for item in items), key=len)
        flags.append(
            OptionFlag(
                name=name,
                flag=items[0].typed,
                metavar="|".join(choices) or name.upper(),
                help=f"{text[:1].upper()}{text[1:]}.",
            )
        )
    return flags


@dataclass(frozen=True, kw_only=True)
class CpuOptions(DeviceOptions):
    """Options of every runtime on this machine's CPU."""

    cache: Cache = option(
        "network",
        "what the caches hold before a timed call: network (what it is inside a network), hot "
        "(calls follow each other), cold (nothing of the model)",
        flag="--cache",
        metrics=_TIMED,
    )
    cache_mb: float | None = option(
        None,
        "memory in MB that is read before each call of an op; by default what a random network of "
        "the space moves (network), or twice the last cache (cold)",
        low=0.01,
        high=4096,
        metrics=_TIMED,
    )
    priority: Literal["normal", "realtime"] = option(
        "normal", "scheduling priority while measuring; realtime needs CAP_SYS_NICE"
    )
    powercap: Path = option(
        Path("/sys/class/powercap"),
        "folder of the kernel's energy counters",
        metrics=("energy",),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cache == "hot" and self.cache_mb is not None:
            raise ProfilingError(
                "--option cache_mb is the memory read before each call, and --cache hot reads "
                f"none: received cache_mb={self.cache_mb}. Leave one of the two out."
            )


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeOptions(CpuOptions):
    """Options of ONNX Runtime in this process."""

    provider: str | None = option(
        None,
        "execution provider that runs the whole model, as CoreML, DirectML (Dml), QNN or OpenVINO, "
        "with or without 'ExecutionProvider'; by default the CPU's own",
        pattern=("[A-Za-z][A-Za-z0-9]{0,60}", "a provider's name as CoreMLExecutionProvider"),
    )


@dataclass(frozen=True, kw_only=True)
class LiteRtOptions(CpuOptions):
    """Options of LiteRT on the CPU."""

    delegate: Literal["xnnpack", "none"] = option(
        "xnnpack",
        "what runs the ops: XNNPACK, or with none LiteRT's own kernels",
        flag="--delegate",
        hint="GPU and NNAPI delegates run on a phone: --device mobile.",
    )


@dataclass(frozen=True, kw_only=True)
class OpenVinoOptions(CpuOptions):
    """Options of OpenVINO on the CPU."""

    inference_precision: Literal["f32", "bf16", "f16"] = option(
        "f32",
        "number format that OpenVINO's float kernels compute in; left to itself it takes bf16 or "
        "f16 where the processor has it",
    )


@dataclass(frozen=True, kw_only=True)
class CudaOptions(DeviceOptions):
    """Options of every runtime on an NVIDIA GPU."""

    gpu: int = option(0, "which GPU, as nvidia-smi counts them", low=0, high=63)


@dataclass(frozen=True, kw_only=True)
class TorchCudaOptions(CudaOptions):
    """Options of torch on an NVIDIA GPU."""

    l2: Literal["warm", "cold"] = option(
        "warm",
        "warm: calls follow each other; cold: the L2 cache is overwritten before each",
        metrics=_TIMED,
    )
    graphs: Literal["auto", "on", "off"] = option(
        "auto",
        "CUDA graphs, which leave out the time to launch kernels from Python; auto: for ops "
        "below 0.2 ms",
        metrics=("latency", "energy"),
    )


@dataclass(frozen=True, kw_only=True)
class MobileOptions(DeviceOptions):
    """Options of an Android phone behind adb."""

    serial: str | None = option(
        None,
        "the phone, as adb devices lists it; by default ANDROID_SERIAL, or the only phone",
        flag="--serial",
    )
    delegate: Literal["default", "none", "xnnpack", "gpu", "nnapi", "npu", "external"] = option(
        "default",
        "what runs the ops; default: the build's own choice; none: XNNPACK off; npu: LiteRT 2.x",
        flag="--delegate",
    )
    delegate_library: str | None = option(
        None, "path on the phone of an external delegate, or of an NPU's dispatch library"
    )
    delegate_options: str | None = option(
        None, "options of an external delegate, as key:value;key:value"
    )
    delegate_partial: Literal["refuse", "allow"] = option(
        "refuse", "allow: accept models of which the CPU ran a part"
    )
    taskset: str | None = option(
        None,
        "processor mask on the phone, as f0",
        flag="--taskset",
        pattern=(
            "(?=0*[1-9a-fA-F])[0-9a-fA-F]{1,16}",
            "a hexadecimal mask without 0x that names a processor, as f0",
        ),
    )
    benchmark_model: str = option(
        "/data/local/tmp/benchmark_model",
        "the tool: an absolute path on the phone, or a local file that is copied there",
    )
    runs: int = option(10, "least runs per visit", low=1, high=1e6)
    min_secs: float = option(0.05, "least seconds per visit", low=0, high=3600)
    max_secs: float = option(20.0, "most seconds per visit", low=0.01, high=3600)
    warmup_runs: int = option(3, "least warm-up runs per visit", low=0, high=1e6)
    warmup_min_secs: float = option(0.02, "least seconds of warm-up per visit", low=0, high=3600)
    max_battery_c: float = option(
        42.0, "pause above this battery temperature in °C", low=20, high=80
    )
    cool_down_s: float = option(600.0, "longest pause in seconds", low=0, high=86400)
    adb: str | None = option(None, "path of adb; by default from PATH")


@dataclass(frozen=True, kw_only=True)
class NpuOptions(DeviceOptions):
    """Options of every NPU that is judged by its compiler."""

    cpu_operators: Literal["refuse", "allow"] = option(
        "refuse",
        "operators that the NPU does not run: allow leaves their time out of the estimate and "
        "names them",
    )
    timeout: float = option(300.0, "seconds that compiling one model may take", low=1, high=86400)


@dataclass(frozen=True, kw_only=True)
class VelaOptions(NpuOptions):
    """Options of Vela, the compiler for Arm's Ethos-U."""

    accelerator: Literal[
        "ethos-u55-32",
        "ethos-u55-64",
        "ethos-u55-128",
        "ethos-u55-256",
        "ethos-u65-256",
        "ethos-u65-512",
        "ethos-u85-128",
        "ethos-u85-256",
        "ethos-u85-512",
        "ethos-u85-1024",
        "ethos-u85-2048",
    ] = option("ethos-u55-256", "the NPU and its multiply-accumulates per cycle")
    system_config: str | None = option(
        None,
        "clock and memories around the NPU: a section of Vela's configuration file, by default "
        "Vela's for the accelerator",
        pattern=("[A-Za-z0-9_]{1,100}", "a name as Ethos_U55_High_End_Embedded"),
    )
    memory_mode: str | None = option(
        None,
        "which memory holds what: a section of the same file, likewise",
        pattern=("[A-Za-z0-9_]{1,100}", "a name as Shared_Sram"),
    )
    config: Path | None = option(
        None, "a configuration file of your own; system_config and memory_mode name its sections"
    )
    optimise: Literal["performance", "size"] = option(
        "performance", "what Vela schedules for: few cycles, or little SRAM"
    )
    arena_cache_size: int | None = option(
        None,
        "bytes of SRAM that Vela schedules for; by default the memory mode's",
        low=1,
        high=1e12,
    )


@dataclass(frozen=True, kw_only=True)
class CommandOptions(DeviceOptions):
    """Options of a tool that times a model file."""

    command: str | None = option(
        None, "the tool's command line, with {model} where the path goes", flag="--command"
    )
    pattern: str | None = option(
        None,
        "regular expression whose first group is the latency, and whose group named unit is its "
        "unit; by default known tools are recognised, else the only time counts",
        flag="--pattern",
    )
    model_format: Literal["onnx", "tflite"] | None = option(
        None, "what {model} is; by default onnx, for .tflite files tflite", flag="--model-format"
    )
    unit: TimeUnit | None = option(
        None, "unit of a latency that the tool prints without one", flag="--unit"
    )
    delegate_partial: Literal["refuse", "allow"] = option(
        "refuse", "allow: accept models of which a LiteRT tool's accelerator ran only a part"
    )
    timeout: float = option(120.0, "seconds that one call may take", low=0.01, high=86400)
    device: str | None = option(None, "name of the device, for the table's header")
