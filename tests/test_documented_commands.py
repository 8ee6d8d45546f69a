"""Every command and Python snippet of README and docs is run, page by page, in one folder.

Long ones are made short by options that are appended (the last value of an option counts). A
command is left out by the rules of LEFT_OUT only, and a rule that fits nothing is a failure.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from documented import PAGES, Typed, split, typed
from documented_workspace import (
    Workspace,
    device_logs,
    energy_table,
    measured_networks,
    parts_of_tables,
    prepare,
    timed_networks,
)

from proxyless_hw.search.config import SearchConfig
from proxyless_hw.search.prepare import prepare_problem

# What this machine cannot run: pattern and reason.
LEFT_OUT: Final = {
    r"^adb ": "needs a phone",
    r"--device mobile(?!.* --bundle)": "needs a phone",
    r"--device gpu": "needs an NVIDIA GPU",
    r"--device cpu --metric energy": "needs energy counters, which virtual machines lack",
    r"import-weights timm:": "needs timm",
    r"^pip ": "changes the environment; the wheel is installed in test_packaging.py",
    r"^([A-Z_]+=\S+ )?make ": "makes an environment of its own; the quick start does as much",
    r"^python tests/": "writes a table of docs from a whole run of the slow suite",
}
# What makes a command short, or lets it run without a GPU, ImageNet or a table that took a minute;
# every fitting rule adds.
SHORTENED: Final = {
    r"profile ": "--goal 0.5 --sessions 1",
    r"profile .*(litert|tflite|--bundle)": "--resolution 32",
    r"table probes (?!.*--next)": "-n 5",
    r"validate": "--networks 3 --spread 3 --goal 0.5",
    r"table calibrate .*--device": "--networks 5 --budget 60",
    r"benchmark": "--goal 0.5",
    r"benchmark proxyless|export ": "--resolution 64",
    r" search (?!.*--resume)": "--epochs 1 --warmup-epochs 0 --limit 128 --finalists 2",
    r"proxyless-hw (search (?!.*--resume)|validate)": "--force",
    r"proxyless-hw search (?!.*--resume)": "--batch-size 16",
    r"torchrun .* search (?!.*--resume)": "--batch-size 8",
    r"search --preset published": "--epochs 3 --holdout 0.5",
    r" train .*--data digits": "--epochs 4",
    r"--data fashion-mnist": "--epochs 1 --limit 128 --data-root fashion",
    r" train .*--data(-root| folder)": "--epochs 1 --limit 64 --batch-size 8",
    r"--data-root imagenet|--data folder|evaluate runs/imagenet": "--train-resolution 32",
    r" specialize ": "--space mine.yaml --resolution 32 --budget 2m",
    r"--workers": "--workers 1",
    r"--device cuda": "--device cpu",
}
# Files that a command reads and that come from outside.
BEFORE: Final[dict[str, Callable[[Workspace], None]]] = {
    r"table import bundle": device_logs,
    r"--from measured.csv": measured_networks,
    r"--networks timed.csv": timed_networks,
    r"search .*cpu-energy.csv": energy_table,
    r"table merge cpu-192.csv": parts_of_tables,
}
MISSED: Final = r"Missed:|times too (fast|slow) for\s+whole networks"
PROCESSES: Final = "2"
ALL = [item for page in PAGES for item in typed(page)]
COMMANDS = [item for item in ALL if item.kind == "command"]


def left_out(item: Typed) -> bool:
    return item.kind == "command" and any(re.search(rule, item.text) for rule in LEFT_OUT)


@pytest.mark.parametrize("rule", [*LEFT_OUT, *SHORTENED, *BEFORE])
def test_a_rule_fits_a_documented_command(rule: str) -> None:
    assert any(re.search(rule, item.text) for item in COMMANDS)


def test_most_commands_are_run() -> None:
    assert sum(map(left_out, COMMANDS)) < len(COMMANDS) / 5


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return prepare(tmp_path_factory.mktemp("documented"))


@pytest.mark.slow
@pytest.mark.timeout(7200)  # minutes when the machine is free
@pytest.mark.parametrize(
    "page", [page.name for page in PAGES if any(item.page == page.name for item in ALL)]
)
def test_what_a_page_tells_to_type_runs(page: str, workspace: Workspace) -> None:
    for item in ALL:
        if item.page != page or left_out(item):
            continue
        if item.kind == "python":
            done = workspace.run([sys.executable, "-c", item.text])
            assert done.returncode == 0, f"{item.text}\n{done.stderr[-3000:]}"
        else:
            run_command(item, workspace)


def run_command(item: Typed, workspace: Workspace) -> None:
    """Runs one command line as a reader would who begins with the page."""
    for rule, make in BEFORE.items():
        if re.search(rule, item.text):
            make(workspace)
    environment, words, output = split(item.text)
    words = with_reachable_targets(words, workspace)
    for rule, options in SHORTENED.items():
        if re.search(rule, item.text):
            words += shlex.split(options)
    clear_output(words, workspace.root)
    done = workspace.run(on_this_machine(words), environment)
    expected = (0,)
    if {"--verify", "specialize"} & set(words) and re.search(MISSED, done.stderr):
        expected = (1,)  # a rough table on a busy machine: the command has told so, as it should
    told = f"{shlex.join(words)}\n{done.stdout[-1000:]}\n{done.stderr[-3000:]}"
    assert done.returncode in expected, told
    assert "Traceback" not in done.stderr, told
    if output is not None:
        path = Path(output.replace("~", str(workspace.root / "home")))
        (workspace.root / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / path).write_text(done.stdout)
        assert done.stdout.strip(), told


def on_this_machine(words: list[str]) -> list[str]:
    """The program behind the first word; torchrun with two processes."""
    if words[0] == "python":
        return [sys.executable, *words[1:]]
    if words[0] == "proxyless-hw":
        return [sys.executable, "-m", "proxyless_hw", *words[1:]]
    if words[0] == "torchrun":
        changed = list(words[1:])
        changed[1] = PROCESSES
        launcher = ["-m", "torch.distributed.run", "--rdzv_backend=c10d"]
        return [sys.executable, *launcher, "--rdzv_endpoint=localhost:0", *changed]
    assert shutil.which(words[0]), f"this test needs {words[0]}: apt-get install {words[0]}"
    return words


def clear_output(words: list[str], root: Path) -> None:
    """Removes what the command would write: the reader of a page has not made it yet."""
    if "--resume" in words or "--overwrite" in words:
        return
    if "--target-ms" in words and "search" in words and "--output" not in words:
        shutil.rmtree(root / default_output(words), ignore_errors=True)
    for option in ("--output", "--bundle"):
        if option not in words:
            continue
        path = root / words[len(words) - words[::-1].index(option)]
        for old in (path, *path.parent.glob(f"{path.stem}.calibration.json")):
            if old.is_dir():
                shutil.rmtree(old)
            else:
                old.unlink(missing_ok=True)
        Path(f"{path}.journal.jsonl").unlink(missing_ok=True)


def with_reachable_targets(words: list[str], workspace: Workspace) -> list[str]:
    """Targets that this machine cannot reach become ones that it can: the docs' are of another."""
    changed = list(words)
    for place, word in enumerate(words):
        if word != "--target-ms":
            continue
        if "--table" in words:
            table = words[words.index("--table") + 1]
        else:  # derive: the first target of a run is its table's
            table = "pixel1" if "runs/imagenet" in words else "tables/cpu.csv"
        asked = float(words[place + 1])
        low, high = reachable(table, words, workspace)
        if not 1.1 * low < asked < 0.9 * high:
            changed[place + 1] = f"{(low * high) ** 0.5 * (1 + place / 1000):.4g}"
            if "search" in words and "--output" not in words:
                changed += ["--output", default_output(words)]  # what later commands name
    return changed


def default_output(words: list[str]) -> str:
    """The run folder that a search with a target takes when none is given."""
    table, target = (words[words.index(option) + 1] for option in ("--table", "--target-ms"))
    return f"runs/{Path(table).stem}-{target}ms"


def reachable(table: str, words: list[str], workspace: Workspace) -> tuple[float, float]:
    path = workspace.root / table
    resolution = 192 if "sizes" in table else None
    name = str(path) if path.is_file() else table
    problem = prepare_problem(SearchConfig(table=name, resolution=resolution, force=True))
    return problem.constraints[0].costs.range
