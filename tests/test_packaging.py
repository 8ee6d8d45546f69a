"""Wheel and sdist: whole, and a wheel without its extras gives a CLI that says what to install."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaged import ROOT, build, install

import proxyless_hw as ph

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# Makes the extras' packages as absent as in an environment that never had them.
HIDE_EXTRAS = """
import sys
HIDDEN = {"ai_edge_litert", "ai_edge_quantizer", "litert_torch", "tflite_runtime", "tensorboard",
          "pynvml"}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None
sys.meta_path.insert(0, Hidden())
"""
INSTALL_TFLITE = "pip install 'proxyless-hw[tflite]'"
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of sdist and wheel; the wheel is built from the sdist, so that it is whole too."""
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def call(built: Path) -> Call:
    """Runs the command of the installed wheel, in an empty folder and without the extras."""
    site, hook = built / "site", built / "hook"
    (wheel,) = built.glob("*.whl")
    install(wheel, site)
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HIDE_EXTRAS)
    folder = built / "folder"
    folder.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{hook}:{site}",
        "XDG_CACHE_HOME": str(built / "cache"),
    }

    def run(*words: str, program: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program or str(site / "bin" / "proxyless-hw"), *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def package_files() -> set[str]:
    """Every file of the package, data files included."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "proxyless_hw").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_the_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == package_files()
    suffixes = {Path(name).suffix for name in names}
    assert suffixes >= {".csv", ".yaml", ".json", ".typed", ".py"}


def test_the_sdist_holds_the_package_and_what_builds_it(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= package_files()
    assert names >= {"setup.cfg", "pyproject.toml", "README.md", "LICENSE"}


def test_the_metadata_names_version_extras_and_command(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (item for item in archive.namelist() if item.endswith("METADATA"))
        metadata: Message = message_from_bytes(archive.read(name))
        entry = archive.read(name.replace("METADATA", "entry_points.txt")).decode()
    assert metadata["Version"] == ph.__version__
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) >= {"tflite", "gpu", "tensorboard"}
    assert "proxyless-hw = proxyless_hw.cli:main" in entry
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra" not in line]
    assert not any("litert" in line or "ai-edge" in line for line in needed)


def test_it_is_the_installed_package_that_runs(built: Path, call: Call) -> None:
    code = "import proxyless_hw; print(proxyless_hw.__file__)"
    told = call("-c", code, program=sys.executable)
    assert Path(told.stdout.strip()).is_relative_to(built / "site")


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("--help", "profile"),
        ("--version", ph.__version__),
        ("zoo list", "proxyless-mobile"),
        ("predict proxyless-mobile --table pixel1", "ms"),
        ("table check pixel1 --space imagenet", "holds every op"),
        ("devices", "litert"),
        ("search --help", "--target-ms"),
    ],
)
def test_what_needs_no_extra_works(command: str, text: str, call: Call) -> None:
    told = call(*command.split())
    assert told.returncode == 0, told.stderr
    assert text in told.stdout


def test_onnx_export_and_the_report_need_no_extra(call: Call) -> None:
    words = "export mobilenet-v2 --resolution 32 --format onnx --output net.onnx"
    assert call(*words.split()).returncode == 0
    words = (
        "search --table pixel1 --limit 64 --batch-size 16 --epochs 1 --warmup-epochs 0 "
        "--finalists 1 --output run"
    )
    told = call(*words.split())
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    "command",
    [
        "export mobilenet-v2 --resolution 32 --format tflite --output net.tflite",
        "export mobilenet-v2 --resolution 32 --format tflite --precision int8 --output net.tflite",
        "export mobilenet-v2 --resolution 32 --all --output exports",
        "profile --device cpu --runtime litert --output litert.csv",
        "profile --device mobile --bundle bundle",
        "benchmark mobilenet-v2 --resolution 32 --runtime litert",
        "benchmark made-up.tflite",
    ],
)
def test_what_needs_tflite_says_what_to_install(command: str, built: Path, call: Call) -> None:
    case = ROOT / "tests/cases/tflite/f06_int16.tflite"
    (built / "folder" / "made-up.tflite").write_bytes(case.read_bytes())
    told = call(*command.split())
    assert told.returncode == 1
    assert INSTALL_TFLITE in told.stderr
    assert "Traceback" not in told.stderr
    assert [line for line in told.stderr.splitlines() if line.startswith("error: ")]
    assert not (built / "folder" / "net.tflite").exists()


def test_what_needs_tensorboard_says_what_to_install(call: Call) -> None:
    told = call("search", "--table", "pixel1", "--tensorboard", "--output", "events")
    assert told.returncode == 1
    assert "pip install 'proxyless-hw[tensorboard]'" in told.stderr
    assert "Traceback" not in told.stderr
