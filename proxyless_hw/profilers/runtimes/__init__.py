"""Runtimes of the host processor, one file each."""
