"""X-rays and CTs computed from volumes and surfaces: cone beams, line integrals, the exposed film, voxels."""
