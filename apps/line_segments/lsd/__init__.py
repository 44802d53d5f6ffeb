"""LSD, the classical line segment detector: regions of one direction, validated a contrario."""
