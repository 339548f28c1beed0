"""X-ray images computed from volumes and surfaces: cone-beam geometry, line integrals, the exposed film."""
