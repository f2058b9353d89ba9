"""Image grids, sample sheets and panels."""
