"""NVIDIA's management library, as far as it is needed: names and energy counters of GPUs."""

from __future__ import annotations

from typing import Any, Self


class Nvml:
    """The library, initialised.

    Args:
        module: the module `pynvml`, or what stands in for it.
    """

    def __init__(self, module: Any) -> None:
        self.module = module

    @classmethod
    def find(cls) -> Self | None:
        """The library, or None where pynvml or the driver is absent."""
        try:
            import pynvml
        except ImportError:
            return None
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return None
        return cls(pynvml)

    def count(self) -> int:
        """Number of GPUs."""
        return int(self.module.nvmlDeviceGetCount())

    def name(self, index: int) -> str:
        """Name of a GPU."""
        handle = self.module.nvmlDeviceGetHandleByIndex(index)
        name = self.module.nvmlDeviceGetName(handle)
        return name.decode() if isinstance(name, bytes) else str(name)

    def driver(self) -> str:
        """Version of the driver."""
        version = self.module.nvmlSystemGetDriverVersion()
        return version.decode() if isinstance(version, bytes) else str(version)

    def has_energy(self, index: int) -> bool:
        """Whether a GPU counts its energy (NVIDIA's do from Volta on)."""
        try:
            self.energy_mj(index)
        except self.module.NVMLError:
            return False
        return True

    def energy_mj(self, index: int) -> float:
        """Energy that a GPU has used since its driver was loaded, in mJ."""
        handle = self.module.nvmlDeviceGetHandleByIndex(index)
        return float(self.module.nvmlDeviceGetTotalEnergyConsumption(handle))
