"""Which mapped place a scan shows: nearest global descriptors, and what such a search is worth."""
