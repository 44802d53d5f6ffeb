"""A simulated town, a LiDAR that drives through it, and data sets of that in KITTI's format.

Simulated scans show that places are found and poses fit, and how methods compare on the same
ground. They say nothing of scores on real streets.
"""
