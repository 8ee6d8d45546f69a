"""Commands on folders of images: what they say about files, and the limit of broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from proxyless_hw.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "train"))
from tiny import tiny_network


def test_the_command_line_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        for index in range(12):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (9, 9), (20 * index, 0, 0)).save(tmp_path / f"set/{name}/{index}.png")
    for name in ("._a.png", "b/broken.jpg"):
        (tmp_path / "set" / name).touch()
    words = ["train", tiny_network(tmp_path), "--data", "folder", "--data-root", f"{tmp_path}/set"]
    words += ["--train-resolution", "16", "--epochs", "1", "--batch-size", "4", "--quiet"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--output", str(tmp_path / "run")])
    assert not ended.value.code
    lines = capsys.readouterr().err.splitlines()
    assert (
        lines[0] == f"warning: left out in {tmp_path / 'set'}: 1 hidden or system names (._a.png)."
    )
    assert lines[1] == (
        f"warning: image {tmp_path}/set/b/broken.jpg cannot be read and is passed over (the file "
        "is empty); 1 so far, at most 10."
    )
    assert len(lines) == 2
    with pytest.raises(SystemExit) as ended:
        main([*words, "--output", str(tmp_path / "strict"), "--max-broken", "1%"])
    assert ended.value.code == 1
    assert "more than 0 of 25 images cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["-1", "101%", "1.5", "many", "", "%"])
def test_a_limit_that_is_no_number_or_share_is_refused(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "mobilenet-v2-0.1", "--max-broken", value])
    assert ended.value.code == 2
    assert "a number such as 5, or a share such as 2%" in capsys.readouterr().err


def test_a_run_that_met_too_many_broken_images_goes_on_with_another_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "ab":
        (tmp_path / "set" / name).mkdir(parents=True)
        for index in range(12):
            Image.new("RGB", (9, 9), (20 * index, 0, 0)).save(tmp_path / f"set/{name}/{index}.png")
    (tmp_path / "set" / "b" / "broken.jpg").touch()
    run = str(tmp_path / "run")
    words = ["train", tiny_network(tmp_path), "--data", "folder", "--data-root", f"{tmp_path}/set"]
    words += ["--train-resolution", "16", "--epochs", "1", "--batch-size", "4", "--output", run]
    for options, code in ((["--max-broken", "0"], 1), (["--resume", "--max-broken", "0.1"], 0)):
        with pytest.raises(SystemExit) as ended:
            main([*words, *options, "--quiet"])
        assert (ended.value.code or 0) == code
    assert "1 so far, at most 2." in capsys.readouterr().err
    assert '"max_broken": 0.1' in (tmp_path / "run" / "config.json").read_text()
