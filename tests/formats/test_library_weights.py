"""Weights of torchvision, timm and Once-for-All: our network gives the outputs of theirs."""

from __future__ import annotations

import json
import re
import sys
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from proxyless_hw.cli import main
from proxyless_hw.errors import ArchitectureError, SearchError
from proxyless_hw.formats.libraries import TIMM
from proxyless_hw.formats.matching import matching_network
from proxyless_hw.formats.published import (
    fill_from_published,
    load_published_weights,
    published_state_dict,
)
from proxyless_hw.formats.timm_weights import timm_tensors
from proxyless_hw.formats.zoo import zoo_architecture
from proxyless_hw.network.network import Network, build_network
from proxyless_hw.pipeline.source import load_source
from proxyless_hw.runs.run_network import load_network
from proxyless_hw.space.counting import count_macs, count_parameters
from proxyless_hw.storage.tensor_files import load_tensors
from proxyless_hw.terminal.notices import Notice
from proxyless_hw.train.imported import import_weights
from proxyless_hw.train.load import initialise_from, save_imported


def run(words: list[str]) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    return int(ended.value.code or 0)


TORCHVISION = {
    "mobilenet-v2": torchvision.models.mobilenet_v2,
    "mobilenet-v3-large": torchvision.models.mobilenet_v3_large,
    "mobilenet-v3-small": torchvision.models.mobilenet_v3_small,
    "mnasnet-b1": torchvision.models.mnasnet1_0,
    "efficientnet-b0": torchvision.models.efficientnet_b0,
}


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The model with weights and BatchNorm statistics that are all different."""
    generator = torch.Generator().manual_seed(seed)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.running_var):
                # Small variances: eps makes a difference.
                tensor.data.uniform_(0.01, 0.4, generator=generator)
            for tensor in (part.bias, part.running_mean):
                tensor.data.normal_(0, 0.1, generator=generator)
    return model.eval()


@pytest.mark.parametrize("name", TORCHVISION)
def test_outputs_are_those_of_torchvision(name: str, tmp_path: Path) -> None:
    theirs = randomised(TORCHVISION[name](weights=None, num_classes=7))
    path = tmp_path / "weights.pth"
    torch.save({"model": theirs.state_dict()}, path)
    arch = zoo_architecture(name).with_shape(num_classes=7)
    ours = load_published_weights(arch, path)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = theirs(images), ours(images)
    scale = expected.std()
    assert (found - expected).abs().max() / scale < 1e-5
    other = build_network(arch)
    assert other.arch.batch_norm == arch.batch_norm
    if ours.arch.batch_norm.eps != arch.batch_norm.eps:
        # With the zoo's eps instead of the library's the outputs would differ.
        fill_from_published(other, theirs.state_dict(), "x")
        with torch.no_grad():
            assert (other.eval()(images) - expected).abs().max() / scale > 1e-5


@pytest.mark.parametrize("name", TORCHVISION)
def test_the_network_is_found_by_its_tensors(name: str) -> None:
    with torch.device("meta"):
        state = TORCHVISION[name](weights=None, num_classes=7).state_dict()
    assert matching_network(state, "x") == name


def timm_names(name: str) -> tuple[Network, dict[str, Tensor]]:
    """A zoo network with random weights, and its tensors under timm's names."""
    network = Network(TIMM.settings(zoo_architecture(name)))
    randomised(network)
    stages: dict[int, tuple[int, int]] = {}
    stage = block = -1
    for index, layer in enumerate(network.arch.blocks):
        if layer.is_zero:
            continue  # nothing stands there
        new = index == 0 or layer.stride == 2 or layer.out_c != network.arch.blocks[index - 1].out_c
        stage, block = (stage + 1, 0) if new else (stage, block + 1)
        stages[index] = (stage, block)
    tensors = {}
    for key, tensor in network.state_dict().items():
        tensors[_timm_name(key, network, stages)] = tensor
    return network, tensors


def _timm_name(key: str, network: Network, stages: dict[int, tuple[int, int]]) -> str:
    """timm's name of a tensor, written down from its source (efficientnet_blocks.py)."""
    part, number, rest = key.split(".", 2)
    layer = getattr(network.arch, "head" if part == "head" else "blocks")[int(number)]
    leaf = rest.rsplit(".", 1)[-1]
    if part == "stem":
        return f"conv_stem.{leaf}" if ".conv" in f".{rest}" else f"bn1.{leaf}"
    if part == "head":
        mobile = len(network.head) == 4
        if rest.startswith("linear"):
            return f"classifier.{leaf}"
        if mobile and number == "0":
            last = f"blocks.{max(stage for stage, _ in stages.values()) + 1}.0"
            return f"{last}.conv.{leaf}" if rest.startswith("conv") else f"{last}.bn1.{leaf}"
        norm = "norm_head" if mobile else "bn2"
        return f"conv_head.{leaf}" if rest.startswith("conv") else f"{norm}.{leaf}"
    stage, block = stages[int(number)]
    rest = rest.removeprefix("body.")
    expands = layer.expand != 1 or layer.op == "mbconv_pw"
    order = ["expand", "depthwise", "project"] if expands else ["depthwise", "project"]
    names = ["conv_pw", "conv_dw", "conv_pwl"] if expands else ["conv_dw", "conv_pw"]
    where = f"blocks.{stage}.{block}"
    which, kind = rest.split(".")[:2]
    if layer.op == "conv":
        return f"{where}.conv.{leaf}" if which == "conv" else f"{where}.bn1.{leaf}"
    if network.arch.space.startswith("mobilenet-v4") and layer.op != "fused_mbconv":
        theirs = {"start": "dw_start", "expand": "pw_exp", "project": "pw_proj"}
        return f"{where}.{theirs.get(which, 'dw_mid')}.{kind}.{leaf}"
    if layer.op == "fused_mbconv":
        order, names = ["expand", "project"], ["conv_exp", "conv_pwl"]
    if which == "se":
        return f"{where}.se.conv_{kind}.{leaf}"
    place = order.index(which)
    return f"{where}.{names[place]}.{leaf}" if kind == "conv" else f"{where}.bn{place + 1}.{leaf}"


def said_eps(name: str) -> AbstractContextManager[object]:
    """The notice about an eps that is not the library's usual one; other networks give none."""
    if name == "fbnet-c":
        return pytest.warns(Notice, match=r"eps\. 0\.001 is taken, that of timm's published")
    return nullcontext()


@pytest.mark.parametrize(
    ("name", "eps"),
    [
        ("mobilenet-v2", 1e-5),
        ("mobilenet-v3-large", 1e-5),
        ("mnasnet-a1", 1e-5),
        ("efficientnet-b0", 1e-5),
        ("efficientnet-lite3", 1e-5),
        ("mobilenet-v4-conv-small", 1e-5),
        pytest.param("mobilenet-v4-conv-medium", 1e-5, marks=pytest.mark.slow),
        ("fbnet-c", 1e-3),  # as timm builds it for its published weights
    ],
)
def test_names_of_timm_are_known_and_its_eps_holds(name: str, eps: float, tmp_path: Path) -> None:
    network, tensors = timm_names(name)
    if name == "mobilenet-v3-large":
        # Spot checks against the names that timm 1.0.31 writes.
        assert {"blocks.6.0.conv.weight", "conv_head.bias", "blocks.5.2.bn3.bias"} <= set(tensors)
    assert matching_network(tensors, "x") == name
    path = tmp_path / "weights.safetensors"
    save_file({key: held.contiguous() for key, held in tensors.items()}, path)
    with said_eps(name):
        loaded = load_published_weights(zoo_architecture(name), path)
    assert loaded.arch.batch_norm.eps == eps
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(loaded(images), network(images))


def test_todays_once_for_all_writes_conv_for_the_inner_convolution(tmp_path: Path) -> None:
    network = build_network(zoo_architecture("proxyless-cpu"), seed=3)
    old = published_state_dict(network)
    new = {re.sub(r"\.mobile_inverted_conv\.", ".conv.", name): held for name, held in old.items()}
    assert new.keys() != old.keys()
    torch.save({"state_dict": new}, tmp_path / "w.pth")
    loaded = load_published_weights(network.arch, tmp_path / "w.pth")
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_half_precision_becomes_single_precision(tmp_path: Path) -> None:
    network, tensors = timm_names("mobilenet-v2")
    half = {n: held.half() if held.is_floating_point() else held for n, held in tensors.items()}
    torch.save(half, tmp_path / "w.pth")
    loaded = load_published_weights(network.arch, tmp_path / "w.pth")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    weight = network.stem[0].conv.weight
    assert torch.equal(loaded.stem[0].conv.weight, weight.half().float())


def test_what_does_not_fit_is_listed_by_name_and_shape(tmp_path: Path) -> None:
    _, tensors = timm_names("mobilenet-v2")
    tensors["blocks.9.0.conv_dw.weight"] = torch.zeros(1)
    tensors["conv_stem.weight"] = torch.zeros(8, 3, 3, 3)
    del tensors["bn2.bias"]
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(ArchitectureError) as caught:
        load_published_weights(zoo_architecture("mobilenet-v2"), tmp_path / "w.pth")
    message = str(caught.value)
    assert "read as one of timm" in message
    assert "missing 1: bn2.bias" in message
    assert "left over 1: blocks.9.0.conv_dw.weight" in message
    assert "conv_stem.weight: (8, 3, 3, 3) instead of (32, 3, 3, 3)" in message


@pytest.mark.parametrize("content", [b"\x10\0\0\0\0\0\0\0{not a header at all" + b" " * 40])
def test_a_broken_safetensors_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(ArchitectureError, match="can be loaded safely"):
        load_published_weights(zoo_architecture("mobilenet-v2"), tmp_path / "w.safetensors")


def test_the_command_imports_weights_of_torchvision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = randomised(TORCHVISION["mobilenet-v3-small"](weights=None, num_classes=5))
    torch.save(theirs.state_dict(), tmp_path / "w.pth")
    words = ["import-weights", str(tmp_path / "w.pth"), "--output", str(tmp_path / "run"), "--json"]
    assert run(words) == 0
    assert json.loads(capsys.readouterr().out)["arch"] == "mobilenet-v3-small"
    document = json.loads((tmp_path / "run" / "architecture.json").read_text())
    assert document["num_classes"] == 5
    assert document["batch_norm"] == {"momentum": 0.01, "eps": 0.001}


@pytest.mark.parametrize(
    "words",
    [
        "import-weights timm:mobilenetv2_100",
        "search --weights timm:mobilenetv2_100",
        "train mobilenet-v2 --weights timm:mobilenetv2_100",
        "export mobilenet-v2 --weights timm:mobilenetv2_100 --output mobile.onnx",
    ],
)
def test_every_command_that_takes_weights_says_that_timm_is_missing(
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "timm", None)
    assert run(words.split()) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "timm:mobilenetv2_100 needs timm, which cannot be imported" in told
    assert "Install it: pip install timm" in told


@pytest.fixture
def fake_timm(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, Network]:
    """A module in timm's place with one network, and that network as ours."""
    network, tensors = timm_names("mobilenet-v2")
    timm = ModuleType("timm")
    timm.list_models = lambda: ["mobilenetv2_100", "mobilenetv3_large_100"]
    model = SimpleNamespace(state_dict=lambda: tensors)
    timm.create_model = lambda name, pretrained: model
    monkeypatch.setitem(sys.modules, "timm", timm)
    return timm, network


def test_weights_of_timm_are_opened_wherever_weights_are_given(
    fake_timm: tuple[ModuleType, Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, wanted = fake_timm
    name = "timm:mobilenetv2_100"
    tuned = Network(wanted.arch)
    initialise_from(tuned, name)
    exported = load_source("mobilenet-v2", weights=Path(name))
    assert exported.weights == f"checkpoint {name}"
    for network in (load_network(name, SearchError), tuned, exported.network):
        state = network.state_dict()
        assert all(torch.equal(held, state[key]) for key, held in wanted.state_dict().items())
        assert network.arch.batch_norm.eps == 1e-5


def test_what_timm_lacks_is_one_message(
    fake_timm: tuple[ModuleType, Network], capsys: pytest.CaptureFixture[str]
) -> None:
    timm, _ = fake_timm
    assert run(["import-weights", "timm:mobilenetv2_100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arch"] == "mobilenet-v2"
    with pytest.raises(ArchitectureError, match="Did you mean 'mobilenetv2_100'"):
        timm_tensors("mobilenetv2_10")

    def fails(name: str, pretrained: bool) -> None:
        raise RuntimeError("No pretrained weights exist")

    timm.create_model = fails
    with pytest.raises(ArchitectureError, match=r"gives no weights .*No pretrained weights exist"):
        timm_tensors("mobilenetv2_100")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("mobilenetv2_100", "mobilenet-v2"),
        ("mobilenetv2_140", "mobilenet-v2-1.4"),
        ("mobilenetv3_large_100", "mobilenet-v3-large"),
        ("mobilenetv3_small_100", "mobilenet-v3-small"),
        ("mnasnet_100", "mnasnet-b1"),
        ("semnasnet_100", "mnasnet-a1"),
        ("efficientnet_b0", "efficientnet-b0"),
        ("efficientnet_lite0", "efficientnet-lite0"),
        ("efficientnet_lite1", "efficientnet-lite1"),
        ("efficientnet_lite2", "efficientnet-lite2"),
        ("efficientnet_lite3", "efficientnet-lite3"),
        ("efficientnet_lite4", "efficientnet-lite4"),
        ("fbnetc_100", "fbnet-c"),
        ("mobilenetv4_conv_small", "mobilenet-v4-conv-small"),
        *(
            pytest.param(
                f"mobilenetv4_conv_{size}", f"mobilenet-v4-conv-{size}", marks=pytest.mark.slow
            )
            for size in ("medium", "large")
        ),
    ],
)
def test_outputs_are_those_of_timm_where_it_is_installed(
    theirs: str, ours: str, tmp_path: Path
) -> None:
    timm = pytest.importorskip("timm")
    # The eps with which timm loads its published weights of this network.
    eps = {"bn_eps": 1e-3} if theirs == "fbnetc_100" else {}
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        whole = timm.create_model(theirs, pretrained=False, **eps).eval()
        arch = zoo_architecture(ours)
        whole(torch.zeros(1, 3, arch.resolution, arch.resolution))
    assert count_parameters(arch) == sum(part.numel() for part in whole.parameters())
    assert count_macs(arch) == counter.get_total_flops() // 2
    model = randomised(timm.create_model(theirs, pretrained=False, num_classes=7, **eps))
    torch.save(model.state_dict(), tmp_path / "w.pth")
    assert matching_network(model.state_dict(), "x") == ours
    with said_eps(ours):
        loaded = load_published_weights(arch.with_shape(num_classes=7), tmp_path / "w.pth")
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = model(images), loaded(images)
    assert (found - expected).abs().max() / expected.std() < 1e-5


def test_a_checkpoint_of_nearly_a_known_network_is_refused_with_what_differs() -> None:
    with torch.device("meta"):
        state = TORCHVISION["mobilenet-v2"](weights=None).state_dict()
        state["total_ops"] = torch.zeros(1)  # as profilers of MACs leave them
    bias = state.pop("classifier.1.bias")
    with pytest.raises(ArchitectureError, match="nearest is mobilenet-v2 with 99%") as caught:
        matching_network(state, "w.pth")
    assert f"Missing 1: classifier.1.bias ({len(bias)},)." in str(caught.value)
    assert "Left over 1: total_ops (1,)." in str(caught.value)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "it is empty or cut off"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html></html>", "no file of torch"),
        (None, r"no weights file .*w\.pth: weights are a torch or safetensors file, a run folder"),
    ],
)
def test_what_is_no_checkpoint_is_refused_with_what_it_is(
    content: bytes | None, told: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ArchitectureError, match=told):
        import_weights(tmp_path / "w.pth")


def test_a_torchscript_model_and_a_folder_are_refused_with_the_way_on(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:  # as torch.jit.save lays it out
        for name in ("data.pkl", "code/__torch__.py"):
            archive.writestr(f"model/{name}", b"x")
    with pytest.raises(ArchitectureError, match=r"TorchScript model.*torch\.jit\.load"):
        import_weights(tmp_path / "model.pt")
    with pytest.raises(ArchitectureError, match=r"is a folder.*Give one in it: model\.pt"):
        import_weights(tmp_path)


def test_our_own_weights_need_no_import(tmp_path: Path) -> None:
    save_imported(Network(zoo_architecture("mobilenet-v2-0.1")), tmp_path / "run", {})
    with pytest.raises(ArchitectureError, match=r"names in .*best\.pt are of this package"):
        import_weights(tmp_path / "run" / "best.pt")


def test_a_whole_module_is_refused_with_the_way_on(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(
        ArchitectureError, match=r"Linear, not only tensors.*state_dict\(\)"
    ) as found:
        load_tensors(tmp_path / "module.pt", ArchitectureError, "checkpoint")
    assert "weights_only" not in str(found.value)
    (tmp_path / "text.pt").write_text("no tensors here")
    with pytest.raises(ArchitectureError, match="no file of torch") as found:
        load_tensors(tmp_path / "text.pt", ArchitectureError, "checkpoint")
    assert "weights_only" not in str(found.value)
