"""Networks that describe a bird's-eye-view image: one vector of the place, one of every pixel."""
