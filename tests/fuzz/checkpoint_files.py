"""Checkpoints to break: valid ones, and what is done to them."""

from __future__ import annotations

import io
import pickle
import tempfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from fuzz_samples import chain, saved, space
from fuzz_strategies import HOSTILE, Edit, edited
from hypothesis import strategies as st

from proxyless_hw.formats.published import fill_from_published, published_state_dict
from proxyless_hw.formats.weights_source import open_weights
from proxyless_hw.network.network import build_network
from proxyless_hw.search import state as search_state
from proxyless_hw.search.config import SearchConfig
from proxyless_hw.train import state as train_state
from proxyless_hw.train.config import TrainConfig

CPU: Final = torch.device("cpu")


def _odd_dict() -> OrderedDict[str, Any]:
    odd: OrderedDict[str, Any] = OrderedDict(a=torch.zeros(2))
    odd._metadata = 7  # type: ignore[attr-defined]  # what load_state_dict would look into
    return odd


TENSORS: Final[list[Any]] = [
    *(torch.tensor(float("nan")), torch.tensor([float("inf")]), torch.zeros(0), torch.zeros(1, 8)),
    *(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.complex64), torch.tensor(True)),
    *(torch.zeros(4, 4).to_sparse(), torch.zeros(1).expand(8), torch.zeros(8, dtype=torch.float64)),
    *(torch.empty(2, device="meta"), torch.nn.Parameter(torch.zeros(2)), _odd_dict(), (1, 2), {1}),
]
"""Values that torch can save and a state hardly expects."""

PICKLES: Final[list[bytes]] = [
    b"cos\nsystem\n(S'touch executed'\ntR.",
    b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
    b"\x80\x02ctorch.serialization\nload\nX\x01\x00\x00\x00x\x85R.",
    *(
        b"",
        b".",
        b"\x80",
        b"\x80\x02",
        b"\x80\x02}.",
        b"\x80\x02N.",
        b"\x80\x02J",
        b"\x80\x02X\xff.",
    ),
    *(
        b"\x80\x02K",
        b"\x80\x02h\x07.",
        b"\x80\x02Q.",
        b"\x80\x02R.",
        b"\x80\x02(lp0\n.",
        b"\x80\x02]]a.",
    ),
    b"\x80\x02" + b"]" * 5000 + b".",
    b"\x80\x02" + b"(" * 5000 + b"t" * 5000 + b".",
    b"\x80\x02" + b"\x8a\xff" + b"\x7f" * 255 + b".",
    pickle.dumps(bytearray(b"x"), 2),
    pickle.dumps({"schema": "proxyless-hw-search/1"}, 2),
]
"""Pickles by hand: calls, references to nothing, deep nesting, ends in the middle."""


@dataclass(frozen=True)
class Kind:
    """A form of checkpoint: a valid document, and a reader that uses what it accepts."""

    document: dict[str, Any]
    read: Callable[[Path], None]


def kinds() -> dict[str, Kind]:
    """Search, training and published checkpoints of small networks."""
    return {"search": _search(), "train": _train(), "published": _published()}


def _use(optimizers: list[torch.optim.Optimizer]) -> None:
    """A step with every gradient zero: what an optimiser remembers must fit its parameters."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def _search() -> Kind:
    config = SearchConfig(space="tiny", table="tiny", momentum=0.9)
    small = space()
    state = search_state.new_state(config, small, 10, 1, 1e-3, CPU)
    optimizers = [state.weight_optimizer, state.alpha_optimizer]
    _use(optimizers)
    state.multipliers.first = [3.0]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "checkpoint.pt"
        search_state.save_checkpoint(path, state, config)
        document = torch.load(path, weights_only=True)

    def read(path: Path) -> None:
        found = search_state.read_checkpoint(path, small)
        search_state.restore(state, found, path)
        _use(optimizers)
        state.supernet.sample(state.generator)
        assert state.supernet.alpha.isfinite().all()

    return Kind(document, read)


def _train() -> Kind:
    config = TrainConfig(arch="tiny", ema=0.9)
    state = train_state.new_state(build_network(chain(), seed=0), config, CPU)
    _use([state.optimizer])
    assert state.average is not None
    state.average.update_parameters(state.network)
    state.best_accuracy, state.best_epoch = 0.5, 0
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "checkpoint.pt"
        train_state.save_checkpoint(path, state, config)
        document = torch.load(path, weights_only=True)

    def read(path: Path) -> None:
        train_state.restore(state, train_state.CHECKPOINT.read(path), path)
        _use([state.optimizer])
        assert state.average is not None
        state.average.update_parameters(state.network)

    return Kind(document, read)


def _published() -> Kind:
    network = build_network(chain(), seed=0)
    document = {"state_dict": published_state_dict(network)}

    def read(path: Path) -> None:
        fill_from_published(network, open_weights(path).tensors, "x.pth")

    return Kind(document, read)


def with_pickle(archive: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The archive with its pickle changed and every checksum right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            content = old.read(entry)
            new.writestr(entry, change(content) if entry.filename.endswith(".pkl") else content)
    return out.getvalue()


def spliced_bytes(content: bytes, splices: list[tuple[int, int, bytes]]) -> bytes:
    """A copy in which pieces are cut out and bytes put in their place."""
    for place, length, word in splices:
        start = place % (len(content) + 1)
        content = content[:start] + word + content[start + length :]
    return content


EDITS: Final[st.SearchStrategy[list[Edit]]] = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from(("replace", "replace", "replace", "remove", "swap", "double", "rename")),
        st.sampled_from([*HOSTILE, *TENSORS]),
    ),
    max_size=3,
)
SPLICES: Final[st.SearchStrategy[list[tuple[int, int, bytes]]]] = st.lists(
    st.tuples(
        st.integers(0, 10**6),
        st.sampled_from((0, 1, 1, 2, 8, 64, 5000)),
        st.sampled_from(
            [b"", b"\x00", b"\xff", b"R", b"b", b"Q", b"t", b".", b"cos\nsystem\n", b"PK"]
        )
        | st.binary(max_size=3),
    ),
    min_size=1,
    max_size=3,
)


def contents(documents: dict[str, dict[str, Any]]) -> st.SearchStrategy[tuple[str, bytes]]:
    """A kind's name and a file that may or may not be one of it."""
    return st.builds(
        _content(documents),
        st.sampled_from(sorted(documents)),
        st.sampled_from(("edits", "edits", "edits", "pickle", "bytes", "legacy", "made")),
        EDITS,
        SPLICES,
        st.sampled_from(PICKLES),
    )


def _content(documents: dict[str, dict[str, Any]]) -> Callable[..., tuple[str, bytes]]:
    valid = {name: saved(document) for name, document in documents.items()}
    older = {name: saved(document, legacy=True) for name, document in documents.items()}

    def build(
        name: str, way: str, edits: list[Edit], splices: list[Any], made: bytes
    ) -> tuple[str, bytes]:
        match way:
            case "edits":
                document = edited(documents[name], edits)
                return name, saved(document, legacy=bool(splices[0][0] % 4 == 0))
            case "pickle":
                return name, with_pickle(valid[name], lambda text: spliced_bytes(text, splices))
            case "bytes":
                return name, spliced_bytes(valid[name], splices)
            case "legacy":
                return name, spliced_bytes(older[name], splices)
        if splices[0][0] % 2:
            return name, made
        return name, with_pickle(valid[name], lambda _: made)

    return build
