"""Which commits and machines runs or trials were computed with, in words; a warning where they differ."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

from radseg.pipelines.experiments.cells import counted
from radseg.pipelines.experiments.results import Machine, Origin

_NO_COMMIT = "not from a checkout"


class Computed(Protocol):
    """A run or a trial."""

    @property
    def origins(self) -> tuple[Origin, ...]: ...  # noqa: D102
    @property
    def ended(self) -> str | None: ...  # noqa: D102


def last_of(ones: Sequence[Computed]) -> dict[str, Any]:
    """Commit, date and machine of the one that ended last, of two in one second the later in order; None if unknown."""
    known = [one for one in ones if one.ended is not None]
    last = max(reversed(known), key=lambda one: datetime.fromisoformat(one.ended or ""), default=None)
    if last is None:
        return {"commit": None, "date": None, "machine": None}
    origin = last.origins[-1] if last.origins else None
    return {
        "commit": None if origin is None else origin.commit,
        "date": last.ended,
        "machine": None if origin is None else origin.machine,
    }


def commits(ones: Sequence[Computed]) -> str:
    """The commits, each once: "commit 75a294113ad0", "commits … and …", or that there is none or none is known."""
    found = list(_counts(ones, _commit))
    if not found:
        return "commit not recorded"
    if len(found) == 1:
        return found[0] if found[0] == _NO_COMMIT else f"commit {found[0]}"
    return f"commits {' and '.join(found)}"


def machines(ones: Sequence[Computed]) -> str:
    """The machines, each once."""
    return "; ".join(_counts(ones, _machine)) or "not recorded"


def devices(ones: Sequence[Computed]) -> str:
    """Devices and processors, each pair once."""
    found = _counts(ones, lambda origin: f"{origin.machine.device}, {origin.machine.cpu}")
    return " and ".join(found) or "machine not recorded"


def machine_in_words(machine: Machine) -> str:
    """Processor, cores, main memory and device."""
    cores = counted(machine.cores, "core")
    return f"{machine.cpu}, {cores}, {machine.memory_gb:.0f} GB memory; trained on {machine.device}"


def mixed(ones: Sequence[Computed], what: str = "run") -> list[str]:
    """Warnings, a sentence each, where runs are of different commits or machines, or some don't say of which.

    Args:
        ones: runs or trials.
        what: one of them is called.
    """
    said = []
    for name, of, so in (
        ("commits", _commit, "what differs between them may come from the code"),
        ("machines", _machine, "their seconds and memory can't be compared, and rounding may differ"),
    ):
        found = _counts(ones, of)
        if len(found) > 1:
            each = "; ".join(f"{one}: {counted(count, what)}" for one, count in found.items())
            said.append(f"{what.capitalize()}s are of different {name} ({each}): {so}.")
    silent = sum(not one.origins for one in ones)
    if 0 < silent < len(ones):
        said.append(f"{silent} of {counted(len(ones), what)} don't say with which commit and machine they were made.")
    return said


def _counts(ones: Sequence[Computed], of: Callable[[Origin], str]) -> Counter[str]:
    """How many were computed with each, in the order met; one that was gone on with elsewhere counts for both."""
    return Counter(name for one in ones for name in dict.fromkeys(of(origin) for origin in one.origins))


def _commit(origin: Origin) -> str:
    return origin.commit or _NO_COMMIT


def _machine(origin: Origin) -> str:
    return machine_in_words(origin.machine)
