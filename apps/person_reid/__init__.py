"""Person re-identification: who was seen before, by which camera."""
