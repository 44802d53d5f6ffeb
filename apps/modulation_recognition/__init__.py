"""Automatic modulation recognition: which modulation a frame of I/Q samples carries."""
