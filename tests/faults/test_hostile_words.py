"""Words with shell metacharacters, and names with markup: they stay words and names."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from payloads import TRACE, write_space_and_table

from proxyless_hw.errors import ProfilingError, ProxylessHwError
from proxyless_hw.profilers.android.adb import AdbProfiler, tool_command
from proxyless_hw.profilers.android.adb_device import AdbDevice, choose_device
from proxyless_hw.profilers.android.phone_loop import loop_script, split_runs
from proxyless_hw.profilers.base import ProfilerSettings, Workload
from proxyless_hw.profilers.command.profiler import CommandProfiler
from proxyless_hw.report.report import write_report
from proxyless_hw.space.architecture import Architecture, TrainingShape
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

ONNX_FILE = Path(__file__).parents[1] / "cases" / "onnx" / "m03_fixed_batch8.onnx"

SHELL = [
    *(
        "; touch {}",
        "$(touch {})",
        "`touch {}`",
        "| touch {}",
        "&& touch {}",
        "> {}",
        "\ntouch {}\n",
    ),
    *("'; touch {}; '", '"; touch {}; "', "${{IFS}}touch {}", "-o {}", "*", "~", "%n%s", "\\"),
]


@pytest.fixture
def trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file a shell would leave, by its full path or in the current folder."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / TRACE
    yield path
    assert not path.exists(), "a shell read a user's words"


def recorder(folder: Path, name: str, prints: str) -> Path:
    """A program that writes its arguments to a file and prints something."""
    path = folder / name
    path.write_text(
        f"#!{sys.executable} -S\nimport json, sys\n"
        f"open({str(folder / (name + '.argv'))!r}, 'a').write(json.dumps(sys.argv[1:]) + chr(10))\n"
        f"print({prints!r})\n",
        encoding="utf-8",
    )
    path.chmod(0o755)
    return path


def calls(folder: Path, name: str) -> list[list[str]]:
    """The arguments of every call of a recorder."""
    lines = (folder / f"{name}.argv").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("word", SHELL)
def test_a_command_gets_its_words_as_they_are(word: str, tmp_path: Path, trace: Path) -> None:
    hostile = word.format(trace)
    tool = recorder(tmp_path, "tool", "3 ms")
    model = ONNX_FILE
    command = f"{shlex.quote(str(tool))} {shlex.quote(hostile)} {{model}}"
    settings = ProfilerSettings(options={"command": command})
    name = f"net {hostile}"
    with CommandProfiler(settings).open([Workload(name, file=model)]) as session:
        assert session.visit([0])[0].value == 3
    assert {tuple(call[:-1]) for call in calls(tmp_path, "tool")} == {(hostile,)}


@pytest.mark.parametrize("word", [word for word in SHELL if "\\" not in word])
def test_metacharacters_outside_quotes_are_words_too(
    word: str, tmp_path: Path, trace: Path
) -> None:
    tool = recorder(tmp_path, "tool", "3 ms")
    model = ONNX_FILE
    command = f"{shlex.quote(str(tool))} {{model}} {word.format(trace)}"
    try:
        with CommandProfiler(ProfilerSettings(options={"command": command})).open(
            [Workload("m", file=model)]
        ) as session:
            session.visit([0])
    except ProfilingError as error:  # an open quote
        assert "cannot be split" in str(error)  # noqa: PT017
    else:
        assert calls(tmp_path, "tool")[0][1:] == shlex.split(word.format(trace))


@pytest.mark.parametrize("word", SHELL)
def test_adb_gets_its_words_as_they_are(word: str, tmp_path: Path, trace: Path) -> None:
    hostile = word.format(trace)
    adb = recorder(tmp_path, "adb", f"List of devices attached\n{'serial'}\tdevice")
    device = AdbDevice(hostile, str(adb))
    device.push([Path(hostile)], hostile)
    device.remove(hostile)
    device.shell("true", 10)
    pushed, removed, shell = calls(tmp_path, "adb")
    assert pushed == ["-s", hostile, "push", str(Path(hostile)), hostile]
    assert removed[:3] == ["-s", hostile, "shell"]
    assert shlex.split(removed[3]) == ["rm", "-rf", hostile]
    assert shell == ["-s", hostile, "shell", "true"]
    with pytest.raises(ProxylessHwError, match="no phone with serial"):
        choose_device(str(adb), hostile)


@pytest.mark.parametrize("word", SHELL)
def test_the_loop_on_a_phone_runs_its_words_and_nothing_else(
    word: str, tmp_path: Path, trace: Path
) -> None:
    hostile = word.format(trace).replace("/", "") if "/" in word else word.format(TRACE)
    folder = tmp_path / f"a {hostile}"
    folder.mkdir()
    tool = recorder(tmp_path, "tool", "count=1 curr=5")
    named = folder / "tool"
    named.symlink_to(tool)
    settings = ProfilerSettings()
    command = shlex.join(tool_command(settings, str(named)))
    script = loop_script([f"m{hostile}", "m1"], command, [f"--x={hostile}"])
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert split_runs(done.stdout).finished
    assert calls(tmp_path, "tool") == [
        [f"--graph=m{hostile}", f"--x={hostile}"],
        ["--graph=m1", f"--x={hostile}"],
    ]


@pytest.mark.parametrize("word", SHELL)
def test_a_processor_mask_or_a_tool_of_the_phone_is_checked_before_any_shell(
    word: str, tmp_path: Path, trace: Path
) -> None:
    hostile = word.format(trace)
    with pytest.raises(ProfilingError, match="hexadecimal mask"):
        tool_command(ProfilerSettings(options={"taskset": hostile}), "tool")
    profiler = AdbProfiler(ProfilerSettings(options={"benchmark_model": hostile}))
    with pytest.raises(ProfilingError, match="absolute path on the phone"):
        profiler._tool_path()


MARKUP = [
    "<script>window.x=1</script>",
    "</script><script>window.x=1</script>",
    "<img src=x onerror=window.x=1>",
    '"><svg onload=window.x=1>',
    "' onmouseover='window.x=1",
    "</title></style></svg><iframe src=javascript:alert(1)>",
    "<!--",
    "]]><b>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;&amp;",
]


DRAWN = {"svg", "style", "rect", "polyline", "polygon", "circle", "text", "title"}


class Tags(HTMLParser):
    """Counts tags and attributes, and keeps the text of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def run_with(name: str, folder: Path) -> Path:
    """A run folder in which every text that a file can hold is `name`."""
    files = folder / "files"
    files.mkdir(parents=True)
    space_path, table_path = write_space_and_table(files)
    table = LatencyTable.load(table_path).with_metadata(device=name, runtime=name, source=name)
    table.save(table_path)
    space = SearchSpace.load(space_path)
    run = folder / "run"
    run.mkdir()
    shape = TrainingShape(32, 10, name)
    arch = Architecture.from_choices(space, [0] * len(space.slots), training=shape)
    document = {**json.loads(arch.to_json()), "space": name, "provenance": {name: name}}
    (run / "architecture.json").write_text(json.dumps(document), encoding="utf-8")
    settings = {"table": str(table_path), "space": str(space_path), "data": name, name: name}
    settings |= {"constraints": [name], "algorithm": name, "seed": name, "lr": name}
    config = {"settings": settings, "space": name, "table_header": {name: name}, "data": name}
    config["constraints"] = [{"name": name, "unit": name, "target": 3, "reachable": [1, 9]}]
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")
    alpha = [[0.5, 0.25, 0.25], [0.5, 0.5, None], [0.25, 0.5, 0.25]]
    epoch = {"phase": name, "epoch": 0, "train_loss": 1.0, "train_accuracy": 0.5, "alpha": alpha}
    epoch |= {"expected_ms": {name: 2.0}, "targets": {name: 3.0}, "multiplier": {name: 1.0}}
    lines = [json.dumps(epoch)] * 3
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    result = {"target_ms": 3.0, "predicted_ms": 2.9, "accuracy": 0.5, "table": {name: name}}
    finalist = {"predicted_ms": 2.9, "choices": [0, 0, 0], "log_probability": -1.0, "name": name}
    result |= {"breakdown": [{"name": name, "ms": 1.0}], "finalists": [finalist]}
    (run / "result.json").write_text(json.dumps(result), encoding="utf-8")
    (run / "exports").mkdir()
    manifest = {"files": [{"file": name, "bytes": 9, "format": name, "precision": name}]}
    (run / "exports" / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return run


def page_of(name: str, folder: Path) -> tuple[str, Tags]:
    path = write_report(run_with(name, folder), folder / "report.html")
    text = path.read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(text)
    tags.close()
    return text, tags


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tags:
    """The page of a run whose names are plain."""
    return page_of("plain", tmp_path_factory.mktemp("plain"))[1]


@pytest.mark.parametrize("name", MARKUP)
def test_markup_in_names_is_text_on_the_page(name: str, plain: Tags, tmp_path: Path) -> None:
    text, tags = page_of(name, tmp_path)
    assert tags.tags == plain.tags
    assert tags.attributes == plain.attributes
    assert not any(attribute.startswith("on") for attribute in tags.attributes)
    frames = re.search(r'id="run-alpha-frames">(.*?)</script>', text, re.DOTALL)
    assert frames is not None
    assert all(name in frame["name"] for frame in json.loads(frames[1]))
    assert name in "".join(tags.text), "the name is shown, not dropped"


@pytest.mark.parametrize("name", [MARKUP[1], MARKUP[4]])
def test_pictures_written_as_files_hold_no_markup_from_names(name: str, tmp_path: Path) -> None:
    run = run_with(name, tmp_path)
    write_report(run, tmp_path / "report.html", figures=tmp_path / "figures")
    pictures = list((tmp_path / "figures").glob("*.svg"))
    assert len(pictures) >= 5
    for picture in pictures:
        elements = list(ElementTree.parse(picture).iter())  # what we just wrote
        assert {element.tag.rpartition("}")[2] for element in elements} <= DRAWN
        assert not any(key.startswith("on") for element in elements for key in element.attrib)
    outside = [path for path in tmp_path.iterdir() if path.name not in ("files", "run")]
    assert {path.name for path in outside} == {"report.html", "figures"}
