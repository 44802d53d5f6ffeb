"""Modulation recognition: how a radio signal is modulated, from a frame of its I/Q samples."""
