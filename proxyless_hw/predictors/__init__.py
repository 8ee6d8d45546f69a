"""Predictors: from a table to the latency of any network, exact, regressed, calibrated."""
