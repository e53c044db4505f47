"""Peak memory, and what machine this is."""

import os
import platform
from pathlib import Path

import emcore

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


class PeakMemory:
    """MiB that the process needed at most inside the block beyond what it had at its start.

    ``extra`` is None where the system does not tell (it needs Linux).
    """

    extra: float | None = None

    def __enter__(self) -> "PeakMemory":
        self.supported = CLEAR_REFS.exists()
        if self.supported:
            # 5 resets the high-water mark of the resident set.
            CLEAR_REFS.write_text("5")
            self.before = _status_mib("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        if self.supported:
            self.extra = max(0.0, _status_mib("VmHWM") - self.before)


def _status_mib(field: str) -> float:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"{STATUS} has no field {field}")


def machine() -> str:
    """Processor, cores and instruction set, in a line."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        facts = dict(line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
        facts = {name.strip(): value.strip() for name, value in facts.items()}
        model = facts.get("model name", model)
        if "cpu family" in facts:
            model += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    return f"{model}, {os.cpu_count()} cores, {emcore.instruction_set}"
