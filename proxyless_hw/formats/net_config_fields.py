"""The fields of a published net.config, each checked where it is read."""

from __future__ import annotations

from typing import Final

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.space.limits import MAX_CHANNELS
from proxyless_hw.space.specs import BatchNormSpec
from proxyless_hw.storage.fields import Fields

PROXYLESS, MOBILENET, PYRAMID = "ProxylessNASNets", "MobileNetV3", "PyramidTreeNet"
WEIGHT_FIRST, NORM_FIRST = "weight_bn_act", "bn_act_weight"

MAX_POOL_STRIDE: Final = 32
ACTS: Final = {None: "none", "relu": "relu", "relu6": "relu6", "h_swish": "hswish"}
_COMMON: Final[dict[str, object]] = {
    "in_channels": None,
    "out_channels": None,
    "dropout_rate": 0,
    "ops_order": WEIGHT_FIRST,
}
_CONV: Final[dict[str, object]] = {
    **_COMMON,
    "kernel_size": 3,
    "stride": 1,
    "dilation": 1,
    "groups": 1,
    "bias": False,
    "has_shuffle": False,
    "use_bn": True,
    "act_func": "relu",
    "use_se": False,
}
_MBCONV: Final[dict[str, object]] = {
    "in_channels": None,
    "out_channels": None,
    "kernel_size": 3,
    "stride": 1,
    "expand_ratio": 6,
    "mid_channels": None,
    "act_func": "relu6",
    "use_se": False,
}
# Fields of each layer with the published code's defaults; None must be given.
FIELDS: Final[dict[str, dict[str, object]]] = {
    "ConvLayer": _CONV,
    "DepthConvLayer": _CONV,
    "PoolingLayer": {
        **_COMMON,
        "pool_type": None,
        "kernel_size": 2,
        "stride": 2,
        "use_bn": False,
        "act_func": None,
    },
    "IdentityLayer": {**_COMMON, "use_bn": False, "act_func": None},
    "LinearLayer": {
        "in_features": None,
        "out_features": None,
        "bias": True,
        "use_bn": False,
        "act_func": None,
        "dropout_rate": 0,
        "ops_order": WEIGHT_FIRST,
    },
    "MBInvertedConvLayer": _MBCONV,
    "MBConvLayer": {**_MBCONV, "groups": None},
    "ZeroLayer": {"stride": 1},
}
_REQUIRED: Final = frozenset(
    ("in_channels", "out_channels", "in_features", "out_features", "pool_type")
)


def batch_norm_from(root: Fields) -> BatchNormSpec:
    """Reads ``bn``: momentum and eps.

    Raises:
        ArchitectureError: a rule is broken.
    """
    given = root.inner("bn")
    given.only(("momentum", "eps", "ws_eps"))
    if given.values.get("ws_eps") is not None:
        given.fail("ws_eps", "must be null: weight standardisation is not known here")
    return BatchNormSpec(
        momentum=given.number("momentum", 0, 1, above=True),
        eps=given.number("eps", 0, 1, above=True),
    )


def batch_norm_to(batch_norm: BatchNormSpec) -> dict[str, float]:
    """The published form of the BatchNorm settings."""
    return {"momentum": batch_norm.momentum, "eps": batch_norm.eps}


class LayerFields(Fields):
    """The fields of one layer, with the published code's defaults for those that are absent.

    Args:
        value: what stands in the place of the layer.
        where: the file and the place of the layer in it.
        names: the kinds of layer that may stand there.

    Raises:
        ArchitectureError: another kind, an unknown field, or one that must be given is absent.
    """

    def __init__(self, value: object, where: str, *names: str) -> None:
        super().__init__(value, where, ArchitectureError, inside=True)
        self.name = self.choice("name", names)
        known = FIELDS[self.name]
        self.only(("name", *known))
        for key in _REQUIRED & set(known):
            if self.values.get(key) is None:
                self.fail(key, "must be given")
        self.values = {**known, **self.values}
        if "dropout_rate" in known and self.number("dropout_rate", 0, 1) == 1:
            self.fail("dropout_rate", "must be below 1")

    def channels(self, key: str) -> int:
        """A number of channels; Once-for-All writes those of shortcuts as a list of one."""
        value = self.values[key]
        if key.endswith("channels") and isinstance(value, list) and len(value) == 1:
            self.values = {**self.values, key: value[0]}
        return self.whole(key, 1, MAX_CHANNELS)

    def act(self) -> str:
        """The activation, by our name."""
        value = self.values["act_func"]
        if (value is not None and not isinstance(value, str)) or value not in ACTS:
            known = ", ".join(name for name in ACTS if name)
            self.fail("act_func", f"must be null, {known}", value)
        return ACTS[value]

    def kernel(self, even: bool = False) -> int:
        """The size of the kernel; odd unless `even` allows others."""
        value = self.whole("kernel_size", 1, 31)
        if value % 2 == 0 and not even:
            self.fail("kernel_size", "must be odd")
        return value

    def norm_first(self) -> bool:
        """Whether BatchNorm and activation come before the convolution."""
        return self.choice("ops_order", (WEIGHT_FIRST, NORM_FIRST)) == NORM_FIRST
