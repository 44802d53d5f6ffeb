"""Metrics of line-segment detection: structural AP, heat-map F and AP, exact pixel matching."""
