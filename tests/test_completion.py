"""Shell completion: the scripts are printed, bash takes its one, and TAB finds commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

VARIABLE = "_PROXYLESS_HW_COMPLETE"


def call(shell: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "proxyless_hw"],
        env={**os.environ, VARIABLE: shell, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def completions(*words: str) -> list[str]:
    """What bash is offered for the last of the words."""
    typed = ["proxyless-hw", *words]
    out = call("bash_complete", COMP_WORDS=" ".join(typed), COMP_CWORD=str(len(typed) - 1))
    return [line.partition(",")[2] for line in out.splitlines() if line]


@pytest.mark.parametrize(
    ("shell", "line"),
    [
        ("bash", "complete -o nosort -F _proxyless_hw_completion proxyless-hw"),
        ("zsh", "compdef _proxyless_hw_completion proxyless-hw"),
        ("fish", "complete --no-files --command proxyless-hw"),
    ],
)
def test_the_script_of_each_shell_is_printed(shell: str, line: str) -> None:
    script = call(f"{shell}_source")
    assert line in script
    assert VARIABLE in script


def test_bash_takes_its_script_and_completes_with_it(tmp_path: Path) -> None:
    script = tmp_path / "script.bash"
    script.write_text(call("bash_source"))
    command = tmp_path / "proxyless-hw"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m proxyless_hw "$@"\n')
    command.chmod(0o755)
    asked = (
        f". {script}; COMP_WORDS=(proxyless-hw table ch); COMP_CWORD=2; "
        "_proxyless_hw_completion proxyless-hw; echo ${COMPREPLY[@]}"
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", asked], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["check"]


def test_commands_and_options_are_offered() -> None:
    assert completions("ta") == ["table"]
    assert set(completions("table", "")) >= {"show", "check", "transfer"}
    assert completions("search", "--target") == ["--target-ms", "--target"]
    assert completions("search", "--objective", "mul") == ["mul-log"]


def test_a_mistyped_command_is_no_error_while_completing() -> None:
    assert completions("serch", "--tar") == []
