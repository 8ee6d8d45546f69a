"""The fast tests on the oldest and the newest releases that setup.cfg allows: make test-matrix.

Each column is a virtual environment of its own in the cache folder (PROXYLESS_HW_MATRIX, else
~/.cache/proxyless-hw/matrix), kept for the next time. The outcome goes to
benchmarks/results/version_matrix.json, and docs/reliability.md is written from it.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
RESULTS: Final = ROOT / "benchmarks" / "results" / "version_matrix.json"
PACKAGES: Final = ("torch", "torchvision", "onnxruntime", "numpy")
EXTRAS: Final = "tflite,tensorboard,test"
COLUMNS: Final = ("oldest", "newest")


def lower_bounds() -> dict[str, str]:
    """What setup.cfg says the oldest supported releases are."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    found = re.findall(r"^(\w+)>=([\d.]+)$", setup["options"]["install_requires"], re.MULTILINE)
    return {name: version for name, version in found if name in PACKAGES}


def pins(column: str) -> list[str]:
    """The requirements that make a column what it is."""
    if column == "newest":
        return list(PACKAGES)
    return [f"{name}=={version}.*" for name, version in lower_bounds().items()]


def environment(column: str, cache: Path, python: str) -> Path:
    """The column's interpreter, installed where it is not yet.

    Raises:
        subprocess.CalledProcessError: the releases cannot be installed together.
    """
    folder = cache / column
    interpreter = folder / "bin" / "python"
    stamp = folder / "installed.txt"
    wanted = " ".join([*pins(column), EXTRAS])
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return interpreter
    subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    install = [str(interpreter), "-m", "pip", "install", "--quiet"]
    subprocess.run([*install, "--upgrade", "pip"], check=True)
    # atheris is for the slow suite, and the package itself is imported from the tree.
    subprocess.run([*install, *pins(column), *requirements()], check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return interpreter


def requirements() -> list[str]:
    """Everything else that the package and its fast tests need, at any allowed release."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].splitlines()
    for extra in EXTRAS.split(","):
        lines += setup["options.extras_require"][extra].splitlines()
    named = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
    return [line for line in named if not line.startswith("atheris")]


def versions(interpreter: Path) -> dict[str, str]:
    """The releases that a column holds."""
    text = (
        "import importlib.metadata as m, json, platform, sys; found = {'python': "
        "platform.python_version()} | {name: m.version(name) for name in sys.argv[1:]}; "
        "print(json.dumps(found))"
    )
    names = (*PACKAGES, "onnx", "pandas", "scikit-learn", "scipy", "litert-torch")
    done = subprocess.run(
        [str(interpreter), "-c", text, *names], check=True, capture_output=True, text=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def run_suite(interpreter: Path, arguments: list[str]) -> dict[str, Any]:
    """Runs the fast tests; what passed, and which failed."""
    start = time.monotonic()
    done = subprocess.run(
        [str(interpreter), "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    print(done.stdout[-3000:], done.stderr[-1000:], sep="\n", flush=True)
    counted = re.findall(r"(\d+) (passed|failed|error)", done.stdout)
    counts = {word: int(number) for number, word in counted}
    return {
        "passed": counts.get("passed", 0),
        "failed": counts.get("failed", 0) + counts.get("error", 0),
        "failures": re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE),
        "exit_code": done.returncode,
        "seconds": round(time.monotonic() - start, 1),
    }


def main() -> int:
    """Builds what is missing, runs the suite in each column, prints and keeps what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments")
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=list(COLUMNS))
    parser.add_argument("tests", nargs="*", help="arguments for pytest instead of the whole suite")
    options = parser.parse_args()
    cache = Path(
        os.environ.get("PROXYLESS_HW_MATRIX") or Path.home() / ".cache" / "proxyless-hw" / "matrix"
    )
    outcomes: dict[str, Any] = {}
    for column in options.columns:
        interpreter = environment(column, cache, options.python)
        found = versions(interpreter)
        print(column, found, flush=True)
        outcome = run_suite(interpreter, options.tests)
        print(f"{column}: {outcome['passed']} passed, {outcome['failed']} failed", flush=True)
        outcomes[column] = {"versions": found, **outcome}
    if not options.tests:
        # Last, because a test compares the page with the results.
        kept = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
        RESULTS.write_text(json.dumps({**kept, **outcomes}, indent=1) + "\n", encoding="utf-8")
        table = ROOT / "tests" / "faults" / "reliability_table.py"
        subprocess.run([sys.executable, str(table)], check=True)
    return int(any(outcome["exit_code"] for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
