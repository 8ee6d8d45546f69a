"""Architectures and charts as SVG; loads no torch."""
