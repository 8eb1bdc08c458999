"""The brain on disk: layout, the one seam for writes, queue, journal, locks, watch."""
