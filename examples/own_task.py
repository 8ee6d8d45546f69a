"""Images, loss, metric and op of one's own, from profile to a file. ``python own_task.py FOLDER``

It uses public names only and takes less than six minutes on two cores.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

import proxyless_hw as ph

folder = Path(sys.argv[1])


class Shapes(Dataset):
    """Discs, squares, crosses and rings; returns (image float (3, 48, 48), class 0 to 3)."""

    def __init__(self, count: int, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)
        grid = torch.stack(torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij"))
        self.items = []
        for number in range(count):
            centre = torch.rand(2, 1, 1, generator=draw) * 20 + 14
            away = (grid - centre).abs()
            radius = away.pow(2).sum(0).sqrt()
            kind = number % 4
            mask = [radius < 9, away.amax(0) < 8, away.amin(0) < 2, (radius - 9).abs() < 2][kind]
            image = mask.float() + 0.3 * torch.randn(3, 48, 48, generator=draw)
            self.items.append((image, kind))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int):
        return self.items[index]


@dataclass(frozen=True, kw_only=True)
class GhostOptions:
    """What a space may say of this op beyond the usual keys."""

    ratio: int = 2


@ph.register_op("ghost", options=GhostOptions)
class Ghost(nn.Module):
    """Half of the channels by a 1x1 convolution, the rest by a cheap depthwise one. `ratio` comes from the space."""

    def __init__(self, layer: ph.LayerSpec, batch_norm: ph.BatchNormSpec) -> None:
        super().__init__()
        main = layer.out_c // layer.options["ratio"]
        self.main = nn.Sequential(
            nn.Conv2d(layer.in_c, main, 1, layer.stride, bias=False),
            nn.BatchNorm2d(main, eps=batch_norm.eps, momentum=batch_norm.momentum),
            nn.ReLU6(),
        )
        self.cheap = nn.Conv2d(
            main, layer.out_c - main, layer.kernel, padding=layer.kernel // 2, groups=main
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        main = self.main(x)
        return torch.cat([main, self.cheap(main)], 1)


space = ph.SearchSpace.from_dict(
    {
        "schema": "proxyless-hw-space/1",
        "id": "shapes",
        "resolution": 48,
        "num_classes": 4,
        "stem": {"op": "conv", "kernel": 3, "stride": 2, "width": 16},
        "candidates": [
            {"op": "mbconv", "kernel": 3, "expand": 3},
            {"op": "mbconv", "kernel": 5, "expand": 6},
            {"op": "ghost", "kernel": 3, "ratio": 2},
        ],
        "zero": True,
        "stages": [{"width": 16, "depth": 2, "stride": 1}, {"width": 32, "depth": 3, "stride": 2}],
        "head": [{"op": "conv", "kernel": 1, "width": 64}, {"op": "classifier"}],
    }
)

table = ph.profile(space, device="cpu", runtime="onnxruntime", budget_s=20)
table.save(folder / "tables" / "cpu.csv")
frame = table.to_pandas()
print(frame.groupby(["op", "kernel"])["value"].median())

data = ph.DataSplits.from_datasets(
    train=Shapes(1200, 1), holdout=Shapes(400, 2), test=Shapes(400, 3), batch_size=50, num_classes=4
)


def focal(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Focal loss, gamma 2, mean over the batch."""
    log_p = torch.log_softmax(logits, 1).gather(1, labels[:, None]).squeeze(1)
    return -((1 - log_p.exp()) ** 2 * log_p).mean()


def worst_class_recall(logits: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of right answers in the class that fares worst, over a whole split. Higher is better."""
    right = logits.argmax(1) == labels
    return min(right[labels == kind].float().mean().item() for kind in range(4))


task = ph.Task(loss=focal, metric=worst_class_recall)

low, high = ph.feasible_range(space, table)
result = ph.run_search(
    ph.SearchConfig(warmup_epochs=4, epochs=6, seed=3, output=str(folder / "search")),
    space=space,
    table=table,
    data=data,
    task=task,
    target_ms=(low * high) ** 0.5,
)
trained = ph.run_training(
    ph.TrainConfig(epochs=8, seed=3, output=str(folder / "trained")),
    architecture=result.architecture,
    weights=result.network,
    data=data,
    task=task,
)
files = ph.export(
    trained.network,
    folder / "files",
    targets=[("onnx", "fp32"), ("tflite", "fp32"), ("tflite", "int8")],
    data=data,
)
measured = ph.benchmark(files[0].path, device="cpu", budget_s=10)
print(
    f"target {(low * high) ** 0.5:.4f} ms, predicted {result.predicted_ms:.4f} ms, measured {measured.median:.4f} {measured.unit}, "
    f"worst-class recall {trained.metric:.2f}, int8 keeps {files[2].agreement:.0%} of the answers"
)
assert trained.metric > 0.5, "it learns: chance is 0.25 at best"
assert measured.unit == "ms" and any(block.op == "ghost" for block in space.slots[0].candidates)
