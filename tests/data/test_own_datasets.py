"""Datasets of the user's: batches that can be repeated, and items that cannot be used."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from proxyless_hw.data.base import DataSplits
from proxyless_hw.errors import DataError


class Noisy(Dataset):
    """Augments from all three global generators."""

    def __init__(self, count=40, channels=3, side=8, classes=4):
        self.count, self.shape, self.classes = count, (channels, side, side), classes

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        noise = torch.rand(self.shape) + random.random() + np.random.rand()
        return noise + 10 * index, index % self.classes


class Holds(Dataset):
    """Hands out the items it was given; raises those that are exceptions."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        if isinstance(self.items[index], Exception):
            raise self.items[index]
        return self.items[index]


def splits(train, **more):
    given = {"test": train, "batch_size": 8, "num_classes": 4, "holdout": train, **more}
    return DataSplits.from_datasets(train=train, **given)


def epoch(split, number=0, **more):
    wanted = {"shuffle": True, "augment": True, "drop_last": True, **more}
    return list(split.batches(number, **wanted))


def good(count=8):
    return [(torch.zeros(3, 8, 8), index % 4) for index in range(count)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_depends_on_its_position_and_not_on_what_was_drawn_before(workers):
    data = splits(Noisy(), workers=workers)
    whole = epoch(data.train, 3)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    rest = epoch(data.train, 3, first=2)
    assert len(whole) == 5
    for (images, labels), (again, same) in zip(whole[2:], rest, strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, same)


def test_workers_do_not_change_a_batch():
    for one, other in zip(
        epoch(splits(Noisy()).train), epoch(splits(Noisy(), workers=2).train), strict=True
    ):
        assert torch.equal(one[0], other[0])


def test_epochs_parts_and_seeds_differ():
    data, other = splits(Noisy()), splits(Noisy(), seed=1)
    firsts = [
        epoch(data.train, 0)[0][0],
        epoch(data.train, 1)[0][0],
        epoch(data.holdout, 0)[0][0],
        epoch(other.train, 0)[0][0],
    ]
    assert all(not torch.equal(one, two) for i, one in enumerate(firsts) for two in firsts[i + 1 :])


def test_the_global_generators_are_left_as_they_were():
    data = splits(Noisy())
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    expected = (random.random(), np.random.rand(), torch.rand(1))
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    epoch(data.train)
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


def test_every_item_comes_once_with_its_label():
    images, labels = zip(*epoch(splits(Noisy()).train), strict=True)
    numbers = (torch.cat(images).amin((1, 2, 3)) // 10).long()
    assert sorted(numbers.tolist()) == list(range(40))
    assert torch.equal(torch.cat(labels), numbers % 4)


def test_processes_share_an_epoch():
    data = splits(Noisy()).train
    whole, shares = epoch(data), [epoch(data, first=rank, every=2) for rank in (0, 1)]
    assert [len(share) for share in shares] == [3, 2]
    for number, (images, _) in enumerate(whole):
        assert torch.equal(images, shares[number % 2][number // 2][0])


def test_a_share_of_the_training_images_is_held_out():
    data = splits(Noisy(), holdout=0.25)
    assert (len(data.train), len(data.holdout), len(data.test)) == (30, 10, 40)
    held = {int(i) for i in data.holdout.indices}
    assert held.isdisjoint(int(i) for i in data.train.indices)
    assert len(splits(Noisy(), holdout=None).holdout) == 0


def test_what_is_known_of_the_data():
    data = splits(Noisy(channels=1, side=12))
    assert (data.resolution, data.channels, data.name) == (12, 1, "Noisy")
    assert data.class_names == ("0", "1", "2", "3")
    assert (data.mean, data.std, data.preparation) == (None, None, None)
    assert splits(Subset(Noisy(), range(9))).name == "Noisy"
    assert splits(Noisy(), class_names=["a", "b", "c", "d"]).class_names[3] == "d"


def test_mean_and_std_normalise():
    data = splits(Holds([(torch.full((2, 4, 4), 0.5), 0)] * 8), mean=(0.5, 0.25), std=(1.0, 0.5))
    images, _ = epoch(data.train)[0]
    assert torch.equal(images[0, :, 0, 0], torch.tensor([0.0, 0.5]))
    assert (data.mean, data.std) == ((0.5, 0.25), (1.0, 0.5))


def test_images_of_several_sizes_are_resized():
    sizes = [(torch.rand(3, 5 + index, 9), 0) for index in range(8)]
    data = splits(Holds(sizes), resize=16)
    assert epoch(data.train)[0][0].shape == (8, 3, 16, 16)
    assert data.resolution == 16
    constant = splits(Holds([(torch.full((3, 5, 9), 0.25), 0)] * 8), resize=16)
    assert torch.allclose(epoch(constant.train)[0][0], torch.tensor(0.25))


@pytest.mark.parametrize(
    ("target", "dtype", "shape"),
    [
        (3, torch.int64, (8,)),
        (np.int32(3), torch.int64, (8,)),
        (torch.tensor(3, dtype=torch.int32), torch.int64, (8,)),
        (0.5, torch.float32, (8,)),
        (np.float64(0.5), torch.float32, (8,)),
        (np.array([0.5, 1.0]), torch.float32, (8, 2)),
        ([0.5, 1.0, 2.0], torch.float32, (8, 3)),
        (torch.ones(2, 2, dtype=torch.float64), torch.float32, (8, 2, 2)),
    ],
)
def test_targets_may_be_labels_or_floats(target, dtype, shape):
    _, targets = epoch(splits(Holds([(torch.zeros(3, 8, 8), target)] * 8)).train)[0]
    assert targets.dtype == dtype
    assert targets.shape == shape


@pytest.mark.parametrize("workers", [0, 1])
def test_an_item_that_raises_is_named_with_its_cause(workers):
    items = [*good(7), ValueError("the file is gone")]
    data = splits(Holds(items), holdout=Holds(good()), test=Holds(good()), workers=workers)
    with pytest.raises(
        DataError, match=r"item 7 of the train dataset.*ValueError: the file is gone \(.*line \d+"
    ):
        epoch(data.train)


ODD = {
    "a pair": ((torch.zeros(3, 8, 8),), "a pair .image, target.: received 1 values"),
    "three values": ((torch.zeros(3, 8, 8), 0, 1), "received 3 values"),
    "a tensor": (torch.zeros(3, 8, 8), "received a tensor float32"),
    "bytes": ((torch.zeros(3, 8, 8, dtype=torch.uint8), 0), "float tensor.*tensor uint8"),
    "an array": ((np.zeros((3, 8, 8)), 0), "received ndarray.*ToTensor"),
    "flat": ((torch.zeros(8, 8), 0), "received a tensor float32 of shape .8, 8."),
    "another size": ((torch.zeros(3, 9, 9), 0), r"the shape of the first, \(3, 8, 8\)"),
    "another depth": ((torch.zeros(1, 8, 8), 0), r"received \(1, 8, 8\)"),
    "label too large": ((torch.zeros(3, 8, 8), 4), "between 0 and 3.*received 4"),
    "label negative": ((torch.zeros(3, 8, 8), -1), "received -1"),
    "text": ((torch.zeros(3, 8, 8), "cat"), "a class label, or floats for a loss: received str"),
    "another target": ((torch.zeros(3, 8, 8), 0.5), "targets are like the first"),
}


@pytest.mark.parametrize("name", ODD)
def test_an_item_of_another_form_is_refused_by_name(name):
    item, text = ODD[name]
    data = splits(Holds([*good(7), item]), holdout=Holds(good()), test=Holds(good()))
    with pytest.raises(DataError, match=f"item 7 of the train dataset cannot be used: .*{text}"):
        epoch(data.train)


class Endless(IterableDataset):
    def __iter__(self):
        return iter(())


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"train": Endless()}, "train must be a map-style dataset"),
        ({"test": DataLoader(Holds(good()))}, "test must be a dataset: received a DataLoader"),
        ({"train": Holds([])}, "train must hold an image"),
        ({"test": Holds([])}, "test must hold an image"),
        ({"train": object()}, "map-style dataset"),
        ({"holdout": 1.5}, "holdout must be a dataset, or a share"),
        ({"holdout": 0.01}, "leaves some in both parts"),
        ({"num_classes": 0}, "num_classes must be a whole number from 1"),
        ({"num_classes": 2.0}, "num_classes must be a whole number"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1"),
        ({"class_names": ["a"]}, "class_names must be 4 names"),
        ({"mean": (0.5,)}, "one number per channel .3., std above 0"),
        ({"mean": (0.5,) * 3, "std": (0.0,) * 3}, "std above 0"),
        ({"resize": 0}, "resize must be a whole number"),
        ({"train": Holds([(torch.zeros(3, 8, 9), 0)])}, "must be square"),
        ({"train": Holds([OSError("no disk")])}, "item 0 of the train dataset.*OSError: no disk"),
        ({"holdout": Holds([(torch.zeros(1, 8, 8), 0)])}, "item 0 of the holdout dataset"),
    ],
)
def test_data_that_cannot_be_used_are_refused_at_once(change, text):
    given = {"train": Holds(good()), "num_classes": 4, **change}
    with pytest.raises(DataError, match=text):
        splits(**given)


def test_facts_tell_two_data_sets_apart():
    images = torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(16) % 4
    facts = splits(TensorDataset(images, labels)).facts()
    assert splits(TensorDataset(images.clone(), labels)).facts() == facts
    changed = images.clone()
    changed[3, 0, 0, 0] += 1
    other = splits(TensorDataset(changed, labels)).facts()
    hashes = {"first_train", "first_holdout", "first_test"}
    assert {key for key in facts if facts[key] != other[key]} == hashes
    assert splits(TensorDataset(images, labels), batch_size=4).facts() != facts


def test_a_dataset_that_cannot_be_repeated_has_no_hash():
    own = np.random.default_rng(0)

    class Own(Noisy):
        def __getitem__(self, index):
            return torch.from_numpy(own.random((3, 8, 8))), 0

    assert splits(Own()).facts()["first_train"] is None
