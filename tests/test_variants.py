"""What others try: an op, a loss and images of their own, from a space to a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from own_data import Shades, focal, worst_class_recall
from torch import nn

import proxyless_hw as ph
from proxyless_hw.space import op_registry


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    groups: int = 1


@pytest.fixture
def own_op(monkeypatch: pytest.MonkeyPatch) -> None:
    """An op with a hyper-parameter and a shortcut of the package's."""
    monkeypatch.setattr(op_registry, "_AT_RUN_TIME", {})

    @ph.register_op("split", options=SplitOptions, shortcut=True)
    class Split(nn.Sequential):
        def __init__(self, layer: ph.LayerSpec, batch_norm: ph.BatchNormSpec) -> None:
            super().__init__(
                nn.Conv2d(
                    layer.in_c,
                    layer.out_c,
                    layer.kernel,
                    layer.stride,
                    layer.kernel // 2,
                    groups=layer.options["groups"],  # type: ignore[arg-type]
                ),
                nn.BatchNorm2d(layer.out_c, eps=batch_norm.eps, momentum=batch_norm.momentum),
                nn.Hardswish(),
            )


def two_channel_space() -> ph.SearchSpace:
    return ph.SearchSpace.from_dict(
        {
            "schema": "proxyless-hw-space/1",
            "id": "variant",
            "input": {"channels": 2},
            "resolution": 16,
            "num_classes": 3,
            "stem": {"op": "conv", "kernel": 3, "stride": 2, "width": 8},
            "candidates": [
                {"op": "mbconv", "kernel": 3, "expand": 3},
                {"op": "split", "kernel": 3, "groups": 2},
                {"op": "split", "kernel": 5, "groups": 4},
            ],
            "zero": True,
            "stages": [{"width": 8, "depth": 2, "stride": 1}],
            "head": [{"op": "classifier"}],
        }
    )


def made_up_table(space: ph.SearchSpace) -> ph.LatencyTable:
    """What ops cost is made up: 1 ns a multiply-accumulate and 10 us an op."""
    rows = [
        {
            **{name: getattr(op, name) for name in ("op", "kernel", "stride", "expand")},
            **{name: getattr(op, name) for name in ("skip", "act", "se")},
            **{f"{end}_{side}": getattr(op, f"{end}_{side}") for end in ("in", "out")
               for side in ("h", "w", "c")},
            "options": "; ".join(f"{key}={value}" for key, value in dict(op.options).items()),
            "value": 0.01 + 1e-6 * ph.op_macs(op),
        }
        for op in space.ops()
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    frame["ci_low"], frame["ci_high"] = 0.99 * frame["value"], 1.01 * frame["value"]
    header = {"metric": "latency", "unit": "ms", "device": "made up", "num_classes": "3"}
    return ph.LatencyTable.from_pandas(frame, {**header, "input_channels": "2"})


def two_channel_data(broken: int | None = None) -> ph.DataSplits:
    return ph.DataSplits.from_datasets(
        train=Shades(300, 1, broken=broken, channels=2),
        holdout=0.2,
        test=Shades(40, 3, channels=2),
        batch_size=30,
        num_classes=3,
    )


@pytest.mark.usefixtures("own_op")
def test_two_channels_three_hundred_images_another_op_and_loss(tmp_path: Path) -> None:
    space = two_channel_space()
    table = made_up_table(space)
    assert {op.options.get("groups") for op in space.ops() if op.op == "split"} == {2, 4}
    low, high = ph.feasible_range(space, table)
    task = ph.Task(loss=focal, metric=worst_class_recall)
    given = {"space": space, "table": table, "task": task, "target_ms": high}

    def config(resume: bool = False) -> ph.SearchConfig:
        return ph.SearchConfig(
            warmup_epochs=1, epochs=1, finalists=2, output=str(tmp_path / "search"), resume=resume
        )

    with pytest.raises(ph.ProxylessHwError, match=r"item 111 .*cut off.*resume=True"):
        ph.run_search(config(), data=two_channel_data(broken=111), **given)
    data = two_channel_data()
    result = ph.run_search(config(resume=True), data=data, **given)
    assert low <= result.predicted <= high
    assert result.predicted == pytest.approx(table.latency_ms(result.architecture))
    trained = ph.run_training(
        ph.TrainConfig(epochs=1, output=str(tmp_path / "trained")),
        architecture=result.architecture,
        weights=result.network,
        data=data,
        task=task,
    )
    assert trained.task.metric == "worst_class_recall"
    again = ph.evaluate(tmp_path / "trained", data, task=task, quiet=True)
    assert again.metric == pytest.approx(trained.metric)
    found = ph.export_run(
        tmp_path / "trained", targets=[("onnx", "fp32")], data=data, training_shape=True, quiet=True
    )
    assert found.files[0].agreement == 1.0


def test_channels_that_do_not_fit_are_refused_before_any_step(tmp_path: Path) -> None:
    space = ph.SearchSpace.load("cifar-mbconv")
    arch = ph.Architecture.from_choices(space, [0] * len(space.slots), num_classes=3)
    config = ph.TrainConfig(epochs=1, output=str(tmp_path / "run"))
    with pytest.raises(ph.ProxylessHwError, match=r"Shades has 2, .* takes 3.*channels: 2"):
        ph.run_training(config, architecture=arch, data=two_channel_data())
