"""Synthetic pedestrians: who they are, how they are drawn, and the cameras that see them."""
