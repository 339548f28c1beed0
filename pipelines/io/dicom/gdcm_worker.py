"""A process that decodes with GDCM for another one: damaged JPEG makes its C code end the process that it runs in.

Run as a script. Each request on standard input is a line of JSON, followed by `bytes` bytes of codestream where it has
no `file`; each answer on standard output is the number of bytes as 8 bytes, little endian, and the stored values; 0
where there are none. It ends when its input does.
"""

import json
import signal
import sys
from typing import Any

_MOST_MEMORY = 1 << 32
_LONGEST_S = 150
"""More than who asks waits: what it started and can't end any more, since it was killed itself, ends then."""


def _image(request: dict[str, Any], codestream: bytes) -> Any:
    """GDCM's image of a DICOM file, or of one frame."""
    import gdcm  # type: ignore[import-untyped]

    if "file" in request:
        reader = gdcm.ImageReader()
        reader.SetFileName(request["file"])
        return reader.GetImage().GetBuffer() if reader.Read() else ""
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(codestream)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((request["columns"], request["rows"], 1))
    image.SetDataElement(element)
    photometric = gdcm.PhotometricInterpretation.GetPIType(request["photometric"])
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(photometric))
    if request["samples"] > 1:
        image.SetPlanarConfiguration(request["planar"])
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(request["syntax"])))
    bits = request["bits_stored"]
    image.SetPixelFormat(
        gdcm.PixelFormat(request["samples"], request["bits_allocated"], bits, bits - 1, request["signed"])
    )
    return image.GetBuffer()


def _main() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):  # not everywhere, nor beyond a limit that is there
        pass
    while line := sys.stdin.buffer.readline():
        _end_in(_LONGEST_S)
        request = json.loads(line)
        try:
            codestream = sys.stdin.buffer.read(request.get("bytes", 0))
            values = _image(request, codestream).encode("utf-8", "surrogateescape")
        except Exception:
            values = b""
        sys.stdout.buffer.write(len(values).to_bytes(8, "little"))
        sys.stdout.buffer.write(values)
        sys.stdout.buffer.flush()
        _end_in(0)


def _end_in(seconds: int) -> None:
    """End this process after that time, whatever it is at; 0: not at all."""
    if hasattr(signal, "alarm"):
        signal.alarm(seconds)


if __name__ == "__main__":
    _main()
