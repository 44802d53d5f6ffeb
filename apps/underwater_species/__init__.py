"""Underwater species: which animal a picture shows, through turbid water."""
