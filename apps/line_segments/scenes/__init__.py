"""Synthetic scenes of buildings, rooms and boxes whose visible segments are known exactly."""
