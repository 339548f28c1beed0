"""Drivers that take cases through a batch: on this machine, or on a Ray cluster."""
