"""The memory of this process; a file of its own, so that a worker that is asked imports nothing else."""

from pathlib import Path


def memory() -> dict[str, float]:
    """Return the most memory that this process has held, and what it now holds alone, in MB (NaN where not to be had).

    Pages of files, such as PyTorch's libraries, are in memory once for all processes.
    """
    try:  # `getrusage` would count the parent's memory, at the moment the process was made, too
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        peak, own = (1.024e-3 * int(lines[name].split()[0]) for name in ("VmHWM", "RssAnon"))
    except (OSError, KeyError):
        peak = own = float("nan")
    return {"peak_mb": round(peak, 1), "own_mb": round(own, 1)}
