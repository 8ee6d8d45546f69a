"""Valid files of every form that is read, small ones: what the fuzzers start from."""

from __future__ import annotations

import io
import json
from importlib import resources
from pathlib import Path
from typing import Any, Final

from proxyless_hw.formats.net_config import to_net_config
from proxyless_hw.formats.timm_strings import to_timm_text
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.csv_format import format_csv
from proxyless_hw.tables.table import Entry, LatencyTable

SPACE: Final = """\
schema: proxyless-hw-space/1
id: tiny
resolution: 32
resolutions: [32, 48]
num_classes: 10
batch_norm: {momentum: 0.1, eps: 0.001}
stem: {op: conv, kernel: 3, stride: 2, width: 8, act: relu6}
candidates:
  - {op: mbconv, kernel: 3, expand: 2, act: relu6}
  - {op: mbconv, kernel: 5, expand: 3, act: hswish, se: 1}
zero: true
stages:
  - {width: 8, depth: 1, stride: 1}
  - {width: 16, depth: 2, stride: 2, act: relu}
head:
  - {op: conv, kernel: 1, width: 32}
  - {op: classifier}
"""
TREE: Final = """\
schema: proxyless-hw-space/1
id: small-tree
resolution: 32
num_classes: 10
stem: {op: conv, kernel: 3, width: 8}
candidates: [{op: identity}, {op: sepconv_pre, kernel: 3, act: relu}, {op: avgpool, kernel: 3}]
tree: {blocks: 2, first_width: 8, last_width: 16, multiple: 2, expand: 1, reduce_at: [1], depth: 2}
head: [{op: identity_pre, act: relu}, {op: avgpool, kernel: 16, stride: 16}, {op: classifier}]
"""
TIMM: Final = """\
# resolution: 64
# num_classes: 7
# stem: 16
# act: relu6
# head: 64
# se: input
ds_r1_k3_s1_c16
ir_r2_k5_s2_e3_c24_se0.25_nre
uir_r1_a3_k0_s2_e2_c32_p3
cn_r2_k3_s1_c32_skip
# skip
ir_r1_k3_s1_e6_c24_noskip
cn_r1_k1_s1_c96
"""
BENCHMARK: Final = """\
INFO: STARTING!
INFO: Num threads: [1]
INFO: Graph: [/data/local/tmp/M.tflite]
INFO: Initialized session in 12.75ms.
INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by it.
INFO: Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1.
INFO: count=37 first=14744 curr=15520 min=13164 max=18295 avg=13764.3 std=967 median=13700 p95=15400
INFO: count=74 first=14850 curr=13315 min=13105 max=15765 avg=13520.2 std=470 median=13500 p95=14400
INFO: Inference timings in us: Init: 12750, First inference: 14744, Warmup (avg): 13764.3, \
Inference (avg): 13520.2
INFO: Overall peak memory footprint (MB) via periodic monitoring: 24.1
"""
SEARCH_CONFIG: Final = """\
table: pixel1
space: imagenet
target_ms: 80
constraints: [macs=320M, 'parameters=4M']
data: digits
batch_size: 64
algorithm: gradient
objective: constraint
warmup_epochs: 2
epochs: 5
lr: 0.05
clip_norm: null
aligned_start: true
seed: 3
"""
TRAIN_CONFIG: Final = """\
arch: proxyless-mobile
data: digits
limit: 400
epochs: 5
batch_size: 32
lr: 0.1
mixup: 0.2
augment: false
ema: 0.99
checkpoint_minutes: 5.5
"""
PUBLISHED: Final = """\
Conv-input:224x224x3-output:112x112x32: {count: 150, mean: 1.2, var: 0.01}
expanded_conv-input:56x56x24-output:28x28x40-expand:3-kernel:5-stride:2-idskip:0:
  {count: 157, mean: 3.2, var: 0.05}
expanded_conv-input:28x28x40-output:28x28x40-expand:6-kernel:3-stride:1-idskip:1:
  count: 157
  mean: 2.5
  var: 0.05
Conv_1-input:7x7x320-output:7x7x1280: {count: 2, mean: 0.3, var: 0.0}
Logits-input:7x7x1280-output:1000: {count: 1, mean: 0.5, var: 0.05}
"""
PLAIN_CSV: Final = """\
op,in_h,in_w,in_c,out_c,kernel,stride,expand,skip,act,value
conv,32,32,3,8,3,2,1,0,relu6,1.25
mbconv,16,16,8,8,3,1,2,1,relu6,0.75
classifier,2,2,32,10,1,1,1,0,none,1.5e-2
"""


def space() -> SearchSpace:
    """The small chain space."""
    return SearchSpace.from_yaml(SPACE)


def chain() -> Architecture:
    """A network of it."""
    found = space()
    return Architecture.from_choices(found, [0] * len(found.slots))


def tree() -> Architecture:
    """A network wired as trees."""
    found = SearchSpace.from_yaml(TREE)
    return Architecture.from_choices(found, [1] * len(found.slots))


def table() -> LatencyTable:
    """A complete table of the small space; its figures are made up."""
    entries = {
        op: Entry(1 + index / 7, 0.9, 9.0, 9.5, 0.5, 12, 480)
        for index, op in enumerate(space().ops())
    }
    header = {"metric": "latency", "unit": "ms", "device": "made up", "num_classes": "10"}
    return LatencyTable(entries, header)


def published_networks() -> list[dict[str, Any]]:
    """Documents in the published form: a chain, and the network wired as trees."""
    from proxyless_hw.formats.zoo import zoo_architecture

    names = ("proxyless-mobile", "mobilenet-v3-large")
    return [to_net_config(tree()), *(to_net_config(zoo_architecture(name)) for name in names)]


def texts() -> dict[str, list[str]]:
    """Valid texts of every form but the checkpoints."""
    shipped = resources.files("proxyless_hw") / "space" / "shipped"
    return {
        "table": [format_csv(table())],
        "space": [SPACE, TREE, (shipped / "imagenet.yaml").read_text(encoding="utf-8")],
        "architecture": [chain().to_json(), tree().to_json()],
        "net_config": [json.dumps(document) for document in published_networks()],
        "timm_strings": [TIMM, to_timm_text(chain())],
        "benchmark_model": [BENCHMARK, BENCHMARK.replace("INFO: ", "")],
        "search_config": [SEARCH_CONFIG],
        "train_config": [TRAIN_CONFIG],
        "published_table": [PUBLISHED],
        "plain_csv": [PLAIN_CSV],
        "bundle": [json.dumps(bundle_manifest())],
    }


def bundle_manifest() -> dict[str, Any]:
    """The manifest of a bundle of two models."""
    keys = [op.key for op in space().ops()[:2]]
    return {
        "schema": "proxyless-hw-bundle/1",
        "id": "0123456789abcdef",
        "created": "2024-01-02T03:04:05Z",
        "space": "tiny",
        "resolutions": [32],
        "num_classes": 10,
        "threads": 1,
        "batch_size": 1,
        "precision": "fp32",
        "metric": "latency",
        "command": "benchmark_model",
        "options": {"taskset": "f0"},
        "reference": 0,
        "models": keys,
        "rounds": [[[1, 0]], [[0], [1]]],
        "seed": 0,
        "segment": 10,
    }


def saved(document: Any, legacy: bool = False) -> bytes:
    """A document as torch writes it, in the archive form or the older one."""
    import torch

    buffer = io.BytesIO()
    torch.save(document, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def write(folder: Path, name: str, content: bytes) -> Path:
    """Writes a file for a target to read."""
    path = folder / name
    path.write_bytes(content)
    return path
