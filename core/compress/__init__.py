"""Making networks small and integer; here the names of the methods, in the order they come in."""

METHODS = ("adapt", "prune", "cluster", "quantize")
