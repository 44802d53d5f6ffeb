"""Line segments: straight edges found in photographs, with their scores."""
