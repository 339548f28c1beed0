"""What a model can be asked to do: segment, train, score, and choose the next image to label."""
