"""Bird's-eye-view density images: a LiDAR scan as a small grey picture of what stands where."""
