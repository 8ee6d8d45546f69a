"""The zoo: names, structure against torchvision's networks, published figures."""

from __future__ import annotations

import pytest
import torch
import torchvision

import proxyless_hw as ph
from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.zoo import zoo_architecture, zoo_names, zoo_published
from proxyless_hw.network.network import build_network
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.search_space import SearchSpace


@pytest.mark.parametrize("name", zoo_names())
def test_every_network_loads_by_name_and_survives_json(name):
    arch = load_architecture(name)
    assert Architecture.from_json(arch.to_json()) == arch
    assert zoo_published(name).source


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("mobilenet-v2", torchvision.models.mobilenet_v2),
        ("mobilenet-v2-1.4", lambda: torchvision.models.mobilenet_v2(width_mult=1.4)),
        ("mobilenet-v3-large", torchvision.models.mobilenet_v3_large),
        ("mobilenet-v3-small", torchvision.models.mobilenet_v3_small),
        ("mnasnet-b1", torchvision.models.mnasnet1_0),
    ],
)
def test_outputs_equal_torchvisions_for_the_same_weights(name, build):
    torch.manual_seed(0)
    theirs = build().eval()
    for tensor in theirs.state_dict().values():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.5 + 0.5)
    ours = build_network(zoo_architecture(name)).eval()
    # Both list their layers in the order in which they run.
    pairs = list(zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    for mine, other in pairs:
        mine.copy_(other.reshape(mine.shape))
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        want, got = theirs(images), ours(images)
    assert want.std() > 1e-3
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5 * float(want.abs().max()))


def test_the_published_cifar_network_is_one_of_the_tree_space():
    space = SearchSpace.load("cifar-tree")
    arch = zoo_architecture("proxyless-cifar")
    choices = arch.choices_in(space)
    assert len(choices) == 648
    assert set(choices) == set(range(7))


def test_the_published_mobile_network_lies_in_no_slot_of_the_imagenet_space():
    with pytest.raises(ArchitectureError, match=r"block 1 \(MB3 5x5\) is no candidate"):
        zoo_architecture("proxyless-mobile").choices_in(SearchSpace.load("imagenet"))


def test_a_wrong_name_suggests_the_nearest():
    with pytest.raises(ArchitectureError, match="Did you mean 'proxyless-mobile'"):
        load_architecture("proxyles-mobile")


def test_a_width_out_of_range_is_refused():
    with pytest.raises(ArchitectureError, match=r"between 0\.1 and 4"):
        zoo_architecture("mobilenet-v2-9")


def test_architecture_load_forwards_other_forms_for_one_release() -> None:
    with pytest.warns(DeprecationWarning, match="load_architecture"):
        arch = Architecture.load("proxyless-mobile")
    assert arch == ph.load_architecture("proxyless-mobile")
