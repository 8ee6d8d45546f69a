"""`specialize` on a small folder of photographs and a tiny space; measuring is replaced."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_photos import NAMES, make_photos
from tiny_spaces import TO_SEARCH

from proxyless_hw.cli import main
from proxyless_hw.errors import ExportError, InterruptedRunError, SearchError
from proxyless_hw.pipeline import made_table, specialized_files, stages
from proxyless_hw.pipeline import specialize as joined
from proxyless_hw.pipeline.specialize import specialize
from proxyless_hw.pipeline.specialize_config import SpecializeConfig
from proxyless_hw.pipeline.specialize_result import SpecializeResult
from proxyless_hw.predictors.fit import fit_predictor
from proxyless_hw.predictors.verdict import verification_of
from proxyless_hw.profilers.host.environment import host_device
from proxyless_hw.profilers.protocol.measurement import Measurement, TableSpeed
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import Entry, LatencyTable

PER_CLASS = 16
SPACE = SearchSpace.from_yaml(TO_SEARCH)
MEASURED = Measurement(
    name="mine.onnx", median=12.0, ci_low=11.9, ci_high=12.1, p90=13.0, min=11.0, unit="ms",
    rounds=9, samples=99, converged=True,
)  # fmt: skip


def made_up_table(num_classes: int = len(NAMES), **changes: str) -> LatencyTable:
    """A table whose figures nobody measured, of this machine unless told otherwise."""
    header = {
        "metric": "latency", "unit": "ms", "device": host_device(), "device_kind": "cpu",
        "runtime": "onnxruntime", "threads": "1", "batch_size": "1", "precision": "fp32",
        "statistic": "median", "num_classes": str(num_classes),
    }  # fmt: skip
    ops = SPACE.ops(32, num_classes)
    values = {op: 1.0 + 0.25 * index + 0.1 * op.kernel for index, op in enumerate(ops)}
    entries = {op: Entry(value, 0.99 * value, 1.01 * value) for op, value in values.items()}
    return LatencyTable(entries, {**header, **changes})


HIGHEST = float(
    fit_predictor(made_up_table()).space_costs(SPACE, resolution=32, num_classes=3).range[1]
)
"""Cost of the largest network: a target that one network meets for sure."""


class Told:
    """What was said and which stages began, with measuring replaced."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self.done: list[str] = []
        self.talk = replace(joined.silent_talk(), say=self.lines.append)
        search, train, export = joined.search_stage, joined.train_stage, joined.export_stage

        def verify(part: object, table: object, result: Any, *_: object) -> Any:
            self.done.append("verify")
            speed = TableSpeed(
                median=result.target, ci_low=result.target * 0.99,
                ci_high=result.target * 1.01, machine_speed=0.5,
            )  # fmt: skip
            assert isinstance(part, Path)
            measured = replace(MEASURED, name=str(part.absolute()), table_speed=speed)
            return verification_of(result.target, result.predicted, measured)

        def measure(paths: list[Path], *_: object) -> list[Measurement]:
            return [replace(MEASURED, name=str(path)) for path in paths]

        def noted(name: str, stage: Any, *arguments: Any) -> Any:
            self.done.append(name)
            return stage(*arguments)

        monkeypatch.setattr(joined, "verify_stage", verify)
        monkeypatch.setattr(specialized_files, "measure_stage", measure)
        monkeypatch.setattr(joined, "calibrate_stage", lambda *_: self.done.append("calibrate"))
        monkeypatch.setattr(
            joined, "search_stage",
            lambda config, *rest: noted("search", search, replace(config, verify=False), *rest),
        )  # fmt: skip
        monkeypatch.setattr(joined, "train_stage", lambda *rest: noted("train", train, *rest))
        monkeypatch.setattr(joined, "export_stage", lambda *rest: noted("export", export, *rest))
        # As on a machine on which little fits.
        monkeypatch.setattr(stages, "seconds_per_epoch", lambda _: 40.0)
        monkeypatch.setattr(stages, "training_seconds_per_epoch", lambda _: 40.0)

    def again(self) -> list[str]:
        """Stages that were made since the last call; a done one is only read."""
        done, self.done = self.done, []
        return done


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with photos, space and table, and the finished run ``mine``."""
    place = tmp_path_factory.mktemp("specialize")
    make_photos(place / "photos", PER_CLASS)
    (place / "tiny.yaml").write_text(TO_SEARCH)
    made_up_table().save(place / "cpu.csv")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(place)
        told = Told(monkeypatch)
        specialize(talk=told.talk, **SETTINGS)
        (place / "said.txt").write_text("\n".join(told.lines))
    return place


SETTINGS: dict[str, Any] = {
    "data_root": "photos", "space": "tiny.yaml", "table": "cpu.csv", "resolution": 32,
    "output": "mine",
}  # fmt: skip


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which a test may change."""
    shutil.copytree(finished, tmp_path / "copy", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def test_one_call_leaves_all_files_and_says_each_stage(finished: Path) -> None:
    said = (finished / "said.txt").read_text().splitlines()
    heads = [line for line in said if line[:1].isdecimal() and "/7  " in line]
    assert [line[:3] for line in heads] == [f"{number}/7" for number in range(1, 8)]
    assert all("left)" in line for line in heads)
    found = SpecializeResult.read(finished / "mine")
    assert found.verdict == "agrees"
    assert found.measured_ms == 12.0
    assert found.table_speed_ms == found.target_ms
    assert found.verified_file == "train/exports/mine-fp32.onnx"
    assert [(file.format, file.precision) for file in found.files] == [
        ("onnx", "fp32"), ("tflite", "fp32"), ("tflite", "int8"),
    ]  # fmt: skip
    for file in found.files:
        assert (finished / "mine" / file.file).stat().st_size == file.bytes
        assert file.accuracy is not None
        assert file.median_ms == 12.0
    assert found.files[0].accuracy == pytest.approx(found.accuracy)
    assert "mine-int8.tflite" in (finished / "mine/train/exports/manifest.json").read_text()
    assert (finished / "mine/report.html").stat().st_size > 10_000


def test_the_photos_decide_classes_and_the_target_is_the_middle_of_the_range(
    finished: Path,
) -> None:
    document = json.loads((finished / "mine/search/config.json").read_text())
    assert document["num_classes"] == document["training"]["num_classes"] == len(NAMES)
    assert document["training"]["class_names"] == list(NAMES)
    assert document["resolution"] == document["training"]["resolution"] == 32
    low, high = document["constraints"][0]["reachable"]
    found = SpecializeResult.read(finished / "mine")
    # The nearest below it where no network of this small space lies within 1%.
    assert 0.8 * (low * high) ** 0.5 < found.target_ms <= (low * high) ** 0.5 * (1 + 1e-9)
    assert found.test_images == len(NAMES) * PER_CLASS // 5 + 1  # every fifth of 48, from the first
    trained = json.loads((finished / "mine/train/config.json").read_text())["settings"]
    assert Path(trained["weights"]) == Path("mine/search")


def test_a_finished_run_is_read_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = SpecializeResult.read(place / "mine")
    told = Told(monkeypatch)

    def never(*_: object) -> Any:
        raise AssertionError("this is not done again")

    for name in ("run_search", "run_training", "export_network"):
        if name != "run_training":  # a finished training is read by it
            monkeypatch.setattr(stages, name, never)
    found = specialize(talk=told.talk, **SETTINGS)
    assert replace(found, folder=before.folder) == before
    assert sum("done before" in line for line in told.lines) == 6


@pytest.mark.parametrize(
    ("changes", "said", "kept"),
    [
        ({"target_ms": HIGHEST}, f"target_ms was not given, is {HIGHEST}", ["table.csv"]),
        ({"from_scratch": True}, "from_scratch was False, is True", ["table.csv", "search"]),
    ],
)
def test_a_changed_setting_remakes_what_depends_on_it(
    changes: dict[str, Any],
    said: str,
    kept: list[str],
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    times = {name: (place / "mine" / name).stat().st_mtime_ns for name in kept}
    told = Told(monkeypatch)
    # What comes after is not of interest here, and takes its time.
    monkeypatch.setattr(joined, "export_stage", _no_room)
    with pytest.raises(ExportError):
        specialize(talk=told.talk, **{**SETTINGS, **changes})
    assert any(said in line and "train, export, verify" in line for line in told.lines)
    assert {name: (place / "mine" / name).stat().st_mtime_ns for name in kept} == times
    settings = json.loads((place / "mine/train/config.json").read_text())["settings"]
    assert (settings["weights"] is None) == ("from_scratch" in changes)
    assert not (place / "mine/result.json").exists()


def _no_room(*_: object) -> Any:
    raise ExportError("no room")


def test_more_photos_are_a_change_and_a_moved_folder_is_none(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch)
    (place / "photos").rename(place / "moved")
    monkeypatch.setattr(joined, "search_stage", _no_room)
    with pytest.raises(ExportError):
        specialize(talk=told.talk, **{**SETTINGS, "data_root": "moved"})
    assert not any("changed since" in line for line in told.lines)
    shutil.copy(place / "moved/disk/IMG_0000.png", place / "moved/disk/IMG_9999.png")
    with pytest.raises(ExportError):
        specialize(talk=told.talk, **{**SETTINGS, "data_root": "moved"})
    assert any("images was 48 images" in line and "is 49 images" in line for line in told.lines)


def test_an_int8_file_that_is_refused_leaves_the_others_and_is_an_error(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(place / "mine/train/exports")
    document = json.loads((place / "mine/stages.json").read_text())
    for name in ("export", "verify"):
        document["stages"][name]["done"] = False
    (place / "mine/stages.json").write_text(json.dumps(document))
    told, real = Told(monkeypatch), stages.export_network

    def export(network: Any, targets: Any, *rest: Any) -> Any:
        if any(target.precision == "int8" for target in targets):
            raise ExportError("mine-int8.tflite differs too much")
        return real(network, targets, *rest)

    monkeypatch.setattr(stages, "export_network", export)
    for _ in range(2):  # the second time it is read
        found = specialize(talk=told.talk, **SETTINGS)
        assert found.problems() == [("error", "mine-int8.tflite differs too much")]
        assert [file.format for file in found.files] == ["onnx", "tflite"]
        assert found.path("tflite", "int8") is None


def test_a_table_of_another_device_is_not_measured_beside(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch)
    monkeypatch.setattr(joined, "verify_stage", _no_room)
    monkeypatch.setattr(joined, "train_stage", _no_room)
    table = made_up_table(device="a phone", device_kind="other")
    with pytest.raises(ExportError):
        specialize(talk=told.talk, **{**SETTINGS, "table": table, "output": "other"})
    assert "calibrate" not in told.again()
    assert any("'a phone', which cannot be measured" in line for line in told.lines)


def test_ops_that_a_table_lacks_are_measured(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of ten classes serves a folder of three: only the classifier is measured."""
    told, asked = Told(monkeypatch), []
    made_up_table(10).save(place / "ten.csv")

    def profile(config: Any, _: object) -> LatencyTable:
        asked.append(config)
        made_up_table().save(config.output)
        return LatencyTable.load(config.output)

    monkeypatch.setattr(made_table, "profile_stage", profile)
    monkeypatch.setattr(joined, "search_stage", _no_room)
    with pytest.raises(ExportError):
        specialize(talk=told.talk, **{**SETTINGS, "table": "ten.csv", "output": "ten"})
    assert any("lacks 1 ops" in line for line in told.lines)
    assert (asked[0].num_classes, asked[0].resolutions) == (3, (32,))
    kept = LatencyTable.load(asked[0].missing_from)
    assert kept.entries == made_up_table(10).entries


def test_a_search_starts_from_given_weights_which_count_by_their_content(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, asked = Told(monkeypatch), []

    def search(config: Any, *_: object) -> Any:
        asked.append(config.weights)
        raise ExportError("no room")

    monkeypatch.setattr(joined, "search_stage", search)
    shutil.copytree(place / "mine/train", place / "trained")

    def specialized(weights: str) -> None:
        with pytest.raises(ExportError):
            specialize(talk=told.talk, **{**SETTINGS, "weights": weights})

    specialized("trained")
    assert asked == ["trained"]
    assert any(
        "weights was not given, is trained;" in line and "Made again: search" in line
        for line in told.lines
    )
    told.lines.clear()
    (place / "trained").rename(place / "moved")
    specialized("moved/best.pt")
    assert not any("changed since" in line for line in told.lines)
    shutil.copy(place / "mine/table.csv", place / "moved/best.pt")
    specialized("moved/best.pt")
    assert any("content of the weights was" in line for line in told.lines)
    with pytest.raises(SearchError, match=r"a file or timm:NAME: cannot read gone\.pt"):
        specialize(talk=told.talk, **{**SETTINGS, "weights": "gone.pt"})


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"budget": "soon"}, "a time such as 15m or 2h"),
        ({"budget": "30s"}, "at least 120 s"),
        ({"data_root": None}, "no --data-root"),
        ({"target_ms": -1.0}, "target_ms must be positive"),
        ({"tabel": "x"}, "unknown setting 'tabel'. Did you mean 'table'?"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SearchError, match=words.replace("?", r"\?").replace(".", r"\.")):
        SpecializeConfig.of({**SETTINGS, **settings})


@pytest.mark.parametrize(
    "settings", [{"runtime": "litert"}, {"device": "gpu"}], ids=["runtime", "device"]
)
def test_a_device_that_contradicts_the_table_is_refused(
    settings: dict[str, str], place: Path
) -> None:
    with pytest.raises(SearchError, match="Leave --"):
        specialize(**{**SETTINGS, **settings, "output": "refused"})


def test_ctrl_c_says_that_the_same_command_goes_on(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch)

    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(joined, "gather", interrupted)
    with pytest.raises(InterruptedRunError, match="Go on: the same command"):
        specialize(talk=told.talk, **SETTINGS)


@pytest.mark.parametrize(
    ("verdict", "code", "word"),
    [("agrees", 0, ""), ("undecided", 0, "warning:"), ("missed", 1, "error:"), (None, 0, "")],
)
def test_the_command_ends_as_the_verdict_says(
    verdict: Any,
    code: int,
    word: str,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = replace(SpecializeResult.read(finished / "mine"), verdict=verdict, sentence="So it is")
    monkeypatch.setattr(joined, "specialize", lambda *_, **__: result)
    for extra in ((), ("--json",)):
        with pytest.raises(SystemExit) as ended:
            main(["specialize", "--data-root", "photos", "--output", "mine", *extra])
        assert ended.value.code == code
        told = capsys.readouterr()
        assert told.err.startswith(f"{word} So it is" if word else "")
        if extra:
            document = json.loads(told.out)
            assert document["verdict"] == verdict
            assert len(document["files"]) == 3
            assert document["int8_accuracy"] == result.accuracy_of("int8")
            assert any("pareto" in step for step in document["next"])
        else:
            assert "mine-int8.tflite" in told.out
            assert "report.html" in told.out
            assert "next:" in told.out


def test_a_malformed_result_is_refused(place: Path) -> None:
    path = place / "mine/result.json"
    document = json.loads(path.read_text())
    for changes in ({"accuracy": "high"}, {"verdict": "perhaps"}, {"files": [{}]}, {"schema": 1}):
        path.write_text(json.dumps({**document, **changes}))
        with pytest.raises(SearchError, match=next(iter(changes))):
            SpecializeResult.read(place / "mine")
    path.write_text("[]")
    with pytest.raises(SearchError):
        SpecializeResult.read(place / "mine")
