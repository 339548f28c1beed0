"""What a training step frees is there for the next."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
import torch

def resident_mb():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000

if sys.argv[1] == "kept":
    from radseg.pipelines.engine.kept_memory import keep_freed_memory

    assert keep_freed_memory()
before = resident_mb()
held = torch.ones(100_000_000)
del held
print(resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
@pytest.mark.parametrize(("how", "kept"), [("kept", True), ("given back", False)])
def test_freed_memory_stays_with_the_process(how, kept):
    told = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    assert (float(told.stdout) > 390) == kept
