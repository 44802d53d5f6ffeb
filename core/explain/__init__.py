"""Why a classifier says what it says: maps of what counted, and how far a map can be believed."""
