"""The models of an annotation server: their versions, what is loaded of them, their labels in coded terms."""
