"""A metric under torchrun sees the whole split, in its order, on every process."""

from __future__ import annotations

from pathlib import Path

from gloo_pair import run_pair

IMPORTS = """
import torch
from torch import distributed, nn
from proxyless_hw.errors import TrainingError
from proxyless_hw.runs.distributed import join_world, leave_world
from proxyless_hw.runs.evaluation import run_split
from proxyless_hw.runs.task import Task
"""
WORKER = """
cpu = torch.device("cpu")
world = join_world(cpu)
seen = []
task = Task(
    loss=lambda y, t: (y - t).abs().mean(),
    metric=lambda y, t: seen.append((y, t)) or float(y.sum() - t[:, 0].sum()),
)
for count in (11, 4, 3):  # three batches of four, the last with three; then one process has none
    outputs = torch.arange(count * 2.0).reshape(count, 2)
    targets = outputs * 3
    batches = [(outputs[i : i + 4, :, None, None], targets[i : i + 4]) for i in range(0, count, 4)]
    found = run_split(nn.Flatten(), batches[world.rank :: world.size], cpu, task)
    score = found.score(TrainingError, cpu, world)
    (y, t), = seen
    seen.clear()
    assert torch.equal(y, outputs) and torch.equal(t, targets), (world.rank, y, t)
    assert score.images == count and score.metric == float(outputs.sum() - targets[:, 0].sum())
    assert abs(score.loss - float((outputs - targets).abs().mean())) < 1e-4
for kind in (torch.int64, torch.bool, torch.float64):
    own = torch.ones(3 * world.rank, 2, dtype=kind)
    joined = world.gather(own)
    assert joined.shape == (3, 2) and joined.dtype == kind
leave_world(world)
open(sys.argv[1] + os.environ["RANK"], "w").close()
"""


def test_a_metric_sees_the_whole_split_on_every_process(tmp_path: Path) -> None:
    run_pair(IMPORTS, WORKER, tmp_path / "rank")
    assert sorted(path.name for path in tmp_path.glob("rank*")) == ["rank0", "rank1"]
