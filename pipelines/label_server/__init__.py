"""The annotation server: a MONAI Label app over versioned copies of the bundles."""
