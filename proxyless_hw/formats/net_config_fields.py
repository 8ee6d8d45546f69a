"""The fields of a published net.config, each checked where it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from proxyless_hw.errors import ArchitectureError, did_you_mean
from proxyless_hw.space.limits import MAX_CHANNELS
from proxyless_hw.space.specs import BatchNormSpec

PROXYLESS, MOBILENET, PYRAMID = "ProxylessNASNets", "MobileNetV3", "PyramidTreeNet"
WEIGHT_FIRST, NORM_FIRST = "weight_bn_act", "bn_act_weight"

MAX_POOL_STRIDE: Final = 32
ACTS: Final = {None: "none", "relu": "relu", "relu6": "relu6", "h_swish": "hswish"}
_COMMON: Final = {
    "in_channels": None,
    "out_channels": None,
    "dropout_rate": 0,
    "ops_order": WEIGHT_FIRST,
}
_CONV: Final = {
    **_COMMON,
    "kernel_size": 3,
    "stride": 1,
    "dilation": 1,
    "groups": 1,
    "bias": False,
    "has_shuffle": False,
    "use_bn": True,
    "act_func": "relu",
}
# Fields of each layer with the published code's defaults; None must be given.
FIELDS: Final[dict[str, dict[str, Any]]] = {
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
    "MBInvertedConvLayer": {
        "in_channels": None,
        "out_channels": None,
        "kernel_size": 3,
        "stride": 1,
        "expand_ratio": 6,
        "mid_channels": None,
        "act_func": "relu6",
        "use_se": False,
    },
    "ZeroLayer": {"stride": 1},
}
_REQUIRED: Final = frozenset(
    ("in_channels", "out_channels", "in_features", "out_features", "pool_type")
)


def check_keys(fields: Mapping[str, Any], keys: tuple[str, ...], where: str) -> None:
    """Checks that a mapping has exactly these keys.

    Raises:
        ArchitectureError: one is missing or unknown.
    """
    for key in keys:
        if key not in fields:
            raise ArchitectureError(f"{where}: key '{key}' is missing.")
    for key in fields:
        if key not in keys:
            raise ArchitectureError(
                f"{where} has an unknown key {str(key)[:60]!r}.{did_you_mean(str(key), keys)}"
            )


def batch_norm_from(value: object, source: str) -> BatchNormSpec:
    """Reads ``bn``: momentum and eps.

    Raises:
        ArchitectureError: a rule is broken.
    """
    fields = mapping(value, f"{source}: bn")
    check_keys(fields, ("momentum", "eps"), f"{source}: bn")
    for key, number in fields.items():
        if type(number) not in (int, float) or not 0 < number <= 1:
            raise ArchitectureError(
                f"{source}: bn.{key} must lie in (0, 1]: received {str(number)[:80]!r}."
            )
    return BatchNormSpec(momentum=fields["momentum"], eps=fields["eps"])


def batch_norm_to(batch_norm: BatchNormSpec) -> dict[str, float]:
    """The published form of the BatchNorm settings."""
    return {"momentum": batch_norm.momentum, "eps": batch_norm.eps}


class LayerReader:
    """Reads the fields of one layer; every fault names where it is and what was received."""

    def __init__(self, value: object, where: str, *names: str) -> None:
        self.where = where
        self.name = mapping(value, where).get("name")
        if not isinstance(self.name, str) or self.name not in names:
            hint = did_you_mean(str(self.name), names)
            self.fail("name", f"must be {' or '.join(names)}", self.name, hint)
        known = FIELDS[self.name]
        self.fields = dict(known)
        for key, item in mapping(value, where).items():
            if key == "name":
                continue
            if key not in known:
                self.fail(key, f"is no field of {self.name}", item, did_you_mean(str(key), known))
            self.fields[key] = item
        for key in _REQUIRED & set(known):
            if self.fields[key] is None:
                self.fail(key, "must be given", None)
        if "dropout_rate" in known:
            self.rate("dropout_rate")

    def fail(self, key: str, rule: str, value: object, hint: str = "") -> NoReturn:
        raise ArchitectureError(
            f"{self.where}.{str(key)[:60]} {rule}: received {str(value)[:80]!r}.{hint}"
        )

    def whole(self, key: str, low: int, high: int) -> int:
        value = self.fields[key]
        if key.endswith("channels") and isinstance(value, list) and len(value) == 1:
            value = value[0]  # Once-for-All writes shortcuts this way
        if type(value) is not int or not low <= value <= high:
            self.fail(key, f"must be a whole number from {low} to {high}", self.fields[key])
        return value

    def channels(self, key: str) -> int:
        return self.whole(key, 1, MAX_CHANNELS)

    def flag(self, key: str) -> bool:
        value = self.fields[key]
        if type(value) is not bool:
            self.fail(key, "must be true or false", value)
        return value

    def rate(self, key: str) -> float:
        value = self.fields[key]
        if type(value) not in (int, float) or not 0 <= value < 1:
            self.fail(key, "must lie in [0, 1)", value)
        return float(value)

    def act(self) -> str:
        value = self.fields["act_func"]
        if (value is not None and not isinstance(value, str)) or value not in ACTS:
            self.fail("act_func", "must be null, relu, relu6 or h_swish", value)
        return ACTS[value]

    def kernel(self, even: bool = False) -> int:
        value = self.whole("kernel_size", 1, 31)
        if value % 2 == 0 and not even:
            self.fail("kernel_size", "must be odd", value)
        return value

    def norm_first(self) -> bool:
        order = self.fields["ops_order"]
        if order not in (WEIGHT_FIRST, NORM_FIRST):
            self.fail("ops_order", f"must be {WEIGHT_FIRST} or {NORM_FIRST}", order)
        return bool(order == NORM_FIRST)


def mapping(value: object, where: str) -> Mapping[str, Any]:
    """The value as a mapping.

    Raises:
        ArchitectureError: it has another type.
    """
    if not isinstance(value, dict):
        raise ArchitectureError(f"{where} must be a mapping: received {str(value)[:80]!r}.")
    return value
