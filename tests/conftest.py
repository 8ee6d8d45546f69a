"""For all tests: the package is imported before torch, so that it settles how threads wait."""

from __future__ import annotations

import proxyless_hw  # noqa: F401
