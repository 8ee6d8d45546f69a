"""Data sets whose batches depend on seed, split, epoch and position alone."""
