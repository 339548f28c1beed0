"""Everything that moves data: inputs to cases, cases through a bundle, results to disk; one verb a file."""
