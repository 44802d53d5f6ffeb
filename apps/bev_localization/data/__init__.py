"""LiDAR data: scans and trajectories, read from the formats in which users download them."""

from __future__ import annotations

from apps.bev_localization.data import bev_folders, kitti, scan_folder, simulated, stamped
from core.data.readers import Reader

READERS: dict[str, Reader] = {
    reader.name: reader
    for module in (simulated, stamped, kitti, bev_folders, scan_folder)
    for reader in module.READERS
}
