"""Datasets that are computed: radiographs of chests and pelvises, CTs of pelvises, with exact masks."""
