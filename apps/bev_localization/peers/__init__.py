"""Methods that need no training, to be compared with."""
