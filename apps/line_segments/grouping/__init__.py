"""From the maps of LSDNet to line segments, in the published way and in a better one."""
