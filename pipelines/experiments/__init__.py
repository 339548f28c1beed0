"""Experiments on a bundle: cross-validation, ablation, comparison, search; folds, runs, tables and their page."""
