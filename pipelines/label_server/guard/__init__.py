"""What stands before the annotation server: who may ask what, in which words; all else is refused in one line."""
