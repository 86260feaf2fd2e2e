"""The architectures by name, each with where its class is: results can be named and read without importing torch.

A line here, or `registry.ARCHITECTURES["MINE"] = "my_module:Mine"` before an experiment is made, gives an architecture
a short name; without one it is called by its place, `module:Class`.
"""

NETWORKS = ("SN", "WSN", "SAUX", "CAUX")  # the original's
INTERVENTIONS = ("NAMES", "NARROW", "SIDE", "DIAL")
ARCHITECTURES = {name: f"lib.architectures:{name}" for name in NETWORKS}
ARCHITECTURES |= {name: f"lib.interventions:{name}" for name in INTERVENTIONS}


def place(name: str) -> str:
    """Return where the class of an architecture is, as `module:Class`."""
    return ARCHITECTURES.get(name, name)


def is_ours(name: str) -> bool:
    """Say whether an architecture is part of lib: its source is covered by the protocol's number, not by its bytes."""
    return place(name).partition(":")[0].partition(".")[0] == "lib"
