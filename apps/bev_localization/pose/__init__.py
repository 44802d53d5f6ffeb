"""Where exactly a scan was taken: keypoints, local features, matches and a rigid fit in the plane.

BEVPlace++ (L. Luo et al., IEEE T-RO 41, 2025), sections III-D and IV.
"""
