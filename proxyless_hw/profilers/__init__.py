"""Profilers: time ops and networks on a device. One protocol (`timing`), one file per runtime."""
