"""What runs a network: PyTorch, torch.compile, OpenVINO or CUDA behind one module."""

from radseg.pipelines.engine.runtime.assembly import flips_of, run_on
from radseg.pipelines.engine.runtime.members import Members
from radseg.pipelines.engine.runtime.network import RuntimeNetwork

__all__ = ["Members", "RuntimeNetwork", "flips_of", "run_on"]
