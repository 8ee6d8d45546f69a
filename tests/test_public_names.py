"""What `import proxyless_hw` offers: public names only, each with an example that runs."""

from __future__ import annotations

import doctest
from types import ModuleType
from typing import Any

import pytest

import proxyless_hw as ph

NAMES = [name for name in ph.__all__ if name != "__version__"]


@pytest.fixture
def own_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples register ops and devices: other tests do not see them."""
    from proxyless_hw.profilers import own_profilers
    from proxyless_hw.space import op_registry

    monkeypatch.setattr(own_profilers, "_AT_RUN_TIME", dict(own_profilers._AT_RUN_TIME))
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", dict(op_registry._AT_RUN_TIME))


def test_dir_shows_public_names_only() -> None:
    assert dir(ph) == sorted(ph.__all__)
    assert not any(isinstance(getattr(ph, name), ModuleType) for name in dir(ph))


def test_a_folder_of_a_public_functions_name_does_not_hide_it() -> None:
    import proxyless_hw.export.export  # noqa: F401

    assert ph.export.__module__ == "proxyless_hw.pipeline.export"  # type: ignore[attr-defined]
    assert callable(ph.export)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.usefixtures("own_registries")
def test_the_examples_of_a_public_name_run(name: str) -> None:
    subject: Any = getattr(ph, name)
    assert ">>>" in (subject.__doc__ or ""), f"{name} has no example"
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    output: list[str] = []
    for example in finder.find(subject, name, globs={}):
        runner.run(example, out=output.append)
    assert runner.failures == 0, "".join(output)
