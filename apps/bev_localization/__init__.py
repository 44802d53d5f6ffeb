"""LiDAR place recognition and 3-DoF localization from bird's-eye-view images."""
