"""What can be profiled on this machine: processor, runtimes, GPUs, phones, energy counters."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from proxyless_hw.errors import BackendUnavailableError, ProfilingError
from proxyless_hw.profilers.android.adb_device import list_devices
from proxyless_hw.profilers.host.energy import POWERCAP, RaplCounter
from proxyless_hw.profilers.host.environment import affinity, cpu_model, governor, package_version
from proxyless_hw.profilers.host.nvml import Nvml
from proxyless_hw.profilers.own_profilers import own_kinds
from proxyless_hw.profilers.registry import built_in_options
from proxyless_hw.space.op_registry import own_op_names
from proxyless_hw.storage.documents import JsonObject

NOTABLE_ISA: Final = (
    *("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16"),
    *("avx512_fp16", "avx_vnni", "amx_int8", "amx_bf16"),
    *("asimd", "neon", "fphp", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"),
    *("v", "zvfh"),
)
"""Instruction sets that decide how fast a network runs, as /proc/cpuinfo spells them."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """One runtime.

    Attributes:
        name: as --runtime takes it.
        device: as --device takes it.
        version: installed version; ``absent`` where it is not.
        note: how to get it, or what limits it; empty where nothing is to be said.
    """

    name: str
    device: str
    version: str
    note: str = ""


def find_devices(*, powercap: Path = POWERCAP, cpuinfo: Path = Path("/proc/cpuinfo")) -> JsonObject:
    """What can be profiled here, as plain values for JSON: ``proxyless-hw devices``.

    Args:
        powercap: the kernel's energy counters.
        cpuinfo: the kernel's description of the processors.

    Example:
        >>> import proxyless_hw as ph
        >>> "cpu" in {runtime["device"] for runtime in ph.find_devices()["runtimes"]}
        True
    """
    gpus, gpu_note = _gpus()
    phones, phone_note = _phones()
    energy, energy_note = _energy(powercap)
    return {
        "cpu": {
            "model": cpu_model(cpuinfo),
            "architecture": platform.machine(),
            "cores": os.cpu_count(),
            "usable": affinity(),
            "isa": instruction_sets(cpuinfo),
            "governor": governor(),
            "system": f"{platform.system()} {platform.release()}",
        },
        "runtimes": [asdict(runtime) for runtime in _runtimes(bool(gpus))],
        "gpus": gpus,
        "gpu_note": gpu_note,
        "phones": phones,
        "phone_note": phone_note,
        "energy": energy,
        "energy_note": energy_note,
        "options": {
            place: [
                {
                    "name": item.name,
                    "typed": item.typed,
                    "value": item.rule,
                    "default": None if item.default is None else str(item.default),
                    "help": item.help,
                }
                for item in listed
            ]
            for place, listed in built_in_options().items()
        },
        "third_party": {
            "profilers": own_kinds(),
            "ops": own_op_names(),
        },
    }


def instruction_sets(cpuinfo: Path) -> list[str]:
    """The notable instruction sets of the first processor."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            present = set(value.split())
            return [name for name in NOTABLE_ISA if name in present]
    return []


def _runtimes(has_gpu: bool) -> list[Runtime]:
    onnxruntime = package_version("onnxruntime", "onnxruntime-gpu")
    litert = package_version("ai-edge-litert", "tflite-runtime")
    converter = package_version("litert-torch")
    tflite = "pip install 'proxyless-hw[tflite]'"
    litert_note = ""
    if litert == "absent":
        litert_note = tflite
    elif converter == "absent":
        litert_note = f"runs files only; to convert ops: {tflite}"
    gpu_note = "" if has_gpu else "no GPU here"
    providers = _onnxruntime_providers()
    found = [
        Runtime("onnxruntime", "cpu", onnxruntime, _absent(onnxruntime, "onnxruntime")),
        Runtime("litert", "cpu", litert, litert_note),
        Runtime("torch", "cpu", package_version("torch"), ""),
        *(_of_extra(name) for name in ("openvino", "executorch")),
    ]
    for name, provider in (
        ("onnxruntime", "CUDAExecutionProvider"),
        ("tensorrt", "TensorrtExecutionProvider"),
    ):
        there = provider in providers
        note = gpu_note if there else "pip install onnxruntime-gpu"
        found.append(Runtime(name, "gpu", onnxruntime if there else "absent", note))
    found.append(Runtime("torch", "gpu", package_version("torch"), gpu_note))
    found.append(_vela())
    return found


def _of_extra(name: str) -> Runtime:
    """A runtime of the CPU whose package and whose extra have its name."""
    version = package_version(name)
    note = f"pip install 'proxyless-hw[{name}]'" if version == "absent" else ""
    return Runtime(name, "cpu", version, note)


def _vela() -> Runtime:
    """The compiler of Arm's NPUs: its package here, or a program on PATH."""
    from proxyless_hw.profilers.device_options import VelaOptions
    from proxyless_hw.profilers.npu.vela import Vela

    try:
        version = Vela(VelaOptions()).version
    except BackendUnavailableError:
        return Runtime("vela", "npu", "absent", "pip install 'proxyless-hw[npu]'")
    return Runtime("vela", "npu", version, "the compiler's estimate: no NPU is needed")


def _absent(version: str, package: str) -> str:
    return f"pip install {package}" if version == "absent" else ""


def _onnxruntime_providers() -> Sequence[str]:
    try:
        import onnxruntime
    except ImportError:
        return ()
    providers: Sequence[str] = onnxruntime.get_available_providers()
    return providers


def _gpus() -> tuple[list[JsonObject], str]:
    nvml = Nvml.find()
    if nvml is None:
        if shutil.which("nvidia-smi"):
            return [], "there may be a GPU; to list it: pip install 'proxyless-hw[gpu]'"
        return [], "no NVIDIA driver"
    gpus = [
        {
            "index": index,
            "name": nvml.name(index),
            "driver": nvml.driver(),
            "energy": nvml.has_energy(index),
        }
        for index in range(nvml.count())
    ]
    return gpus, "" if gpus else "the driver lists no GPU"


def _phones() -> tuple[list[dict[str, str]], str]:
    adb = shutil.which("adb")
    if adb is None:
        return [], "adb is not installed"
    try:
        listed = list_devices(adb)
    except (BackendUnavailableError, ProfilingError) as cause:
        # A listing says what is wrong with one device and goes on to the others.
        return [], str(cause)
    phones = [{"serial": serial, "state": state} for serial, state in listed.items()]
    return phones, "" if phones else "adb lists no phone"


def _energy(powercap: Path) -> tuple[list[str], str]:
    try:
        counter = RaplCounter(powercap)
    except BackendUnavailableError as cause:
        return [], str(cause)
    return [counter.name], ""
