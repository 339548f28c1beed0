"""DICOM lookup tables: modality, VOI and palette (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5 and C.7.6.3.1.6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class LookupTable:
    """Values of an image to values of a table. (pydicom's own functions wrap 8-bit tables of more than 256 entries.)

    Attributes:
        table: one entry for each of a run of input values.
        first_mapped: the input value of the first entry; lower ones get the first entry, those beyond the run the last.
        bits: significant bits of an entry.
    """

    table: npt.NDArray[np.uint16]
    first_mapped: int
    bits: int

    @property
    def white(self) -> int:
        """The highest value that an entry can have."""
        return (1 << self.bits) - 1

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[np.uint16]:
        """Map values, rounded to whole ones, of any shape."""
        whole = values if values.dtype.kind in "iu" else np.rint(values)
        index = np.clip(whole.astype(np.int32) - self.first_mapped, 0, len(self.table) - 1)
        return self.table[index]


def lookup_table(descriptor: Sequence[int] | None, data: Any, *, little_endian: bool = True) -> LookupTable:
    """The table of a LUTDescriptor (entries, first value mapped, bits an entry) and its LUTData.

    Args:
        descriptor: three integers; 0 entries mean 65,536.
        data: integers, or bytes of 8- or 16-bit words.
        little_endian: byte order of 16-bit words in bytes.

    Raises:
        ValueError: malformed.
    """
    if descriptor is None or data is None or len(descriptor) != 3:
        raise ValueError("the table or its descriptor is missing")
    entries, first_mapped, bits = (int(number) for number in descriptor)
    entries = entries or 1 << 16
    if not 1 <= bits <= 16:
        raise ValueError(f"{bits} bits an entry")
    if isinstance(data, bytes):
        if len(data) < 2 * entries:  # some writers pack 8-bit entries
            table, bits = np.frombuffer(data, np.uint8), min(bits, 8)
        else:
            table = np.frombuffer(data[: 2 * entries], "<u2" if little_endian else ">u2")
    else:
        table = np.atleast_1d(np.asarray(data))
    if len(table) < entries:
        raise ValueError(f"{len(table)} entries where {entries} are stated")
    return LookupTable(table[:entries].astype(np.uint16), first_mapped, bits)
