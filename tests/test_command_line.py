"""The command line as a whole: start-up, help, errors in one place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

import proxyless_hw as ph
from proxyless_hw.cli import COMMANDS, cli, main

HEAVY = ("torch", "numpy", "pandas", "sklearn", "onnx", "onnxruntime", "scipy", "matplotlib")


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not modules_after("import proxyless_hw").intersection(HEAVY)


def test_importing_every_command_module_loads_nothing_heavy() -> None:
    names = ", ".join(f"proxyless_hw.commands.{name.replace('-', '_')}" for name in COMMANDS)
    assert not modules_after(f"import proxyless_hw.cli, {names}").intersection(HEAVY)


def test_help_loads_nothing_heavy() -> None:
    statement = (
        "from click.testing import CliRunner; from proxyless_hw.cli import cli; "
        "assert CliRunner().invoke(cli, ['--help']).exit_code == 0"
    )
    assert not modules_after(statement).intersection(HEAVY)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_the_common_options(name: str) -> None:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Example:" in result.output
    if name not in ("space", "table", "zoo"):
        assert "--json" in result.output
        assert "--quiet" in result.output


def test_an_unknown_command_suggests_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["serch"])
    assert result.exit_code == 2
    assert "Did you mean 'search'?" in result.output


def test_a_known_error_is_one_message_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["predict", "no-such-network", "--table", "pixel1"])
    assert caught.value.code == 1
    stderr = capsys.readouterr().err
    assert stderr.startswith("error: ")
    assert "Traceback" not in stderr


def test_the_module_runs_as_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "proxyless_hw", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert ph.__version__ in done.stdout


def test_every_public_name_can_be_imported() -> None:
    for name in ph.__all__:
        assert getattr(ph, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ph.nothing
