"""The folder that MONAI Label is started on (`--app`)."""
