"""Signals of the RadioML data sets, made from their published description."""
