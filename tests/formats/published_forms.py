"""Small configurations in the published forms, for tests."""

from __future__ import annotations

from typing import Any


def conv(in_c: int, out_c: int, **fields: Any) -> dict[str, Any]:
    return {
        "name": "ConvLayer",
        "kernel_size": 1,
        "stride": 1,
        "dilation": 1,
        "groups": 1,
        "bias": False,
        "has_shuffle": False,
        "in_channels": in_c,
        "out_channels": out_c,
        "use_bn": True,
        "act_func": "relu6",
        "dropout_rate": 0,
        "ops_order": "weight_bn_act",
        **fields,
    }


def identity(in_c: Any, **fields: Any) -> dict[str, Any]:
    return {
        "name": "IdentityLayer",
        "in_channels": in_c,
        "out_channels": in_c,
        "use_bn": False,
        "act_func": None,
        "dropout_rate": 0,
        "ops_order": "weight_bn_act",
        **fields,
    }


def linear(in_c: int, classes: int, **fields: Any) -> dict[str, Any]:
    return {
        "name": "LinearLayer",
        "in_features": in_c,
        "out_features": classes,
        "bias": True,
        "use_bn": False,
        "act_func": None,
        "dropout_rate": 0,
        "ops_order": "weight_bn_act",
        **fields,
    }


def bottleneck(in_c: int, out_c: int, **fields: Any) -> dict[str, Any]:
    return {
        "name": "MBInvertedConvLayer",
        "in_channels": in_c,
        "out_channels": out_c,
        "kernel_size": 3,
        "stride": 1,
        "expand_ratio": 3,
        **fields,
    }


def block(convolution: dict[str, Any], shortcut: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": "MobileInvertedResidualBlock",
        "mobile_inverted_conv": convolution,
        "shortcut": shortcut,
    }


def proxyless() -> dict[str, Any]:
    """In the form of ``proxyless_mobile.config``: every kind of block once."""
    return {
        "name": "ProxylessNASNets",
        "bn": {"momentum": 0.1, "eps": 0.001},
        "first_conv": conv(3, 8, kernel_size=3, stride=2),
        "feature_mix_layer": conv(16, 24),
        "classifier": linear(24, 10),
        "blocks": [
            block(bottleneck(8, 8, expand_ratio=1), None),
            block(bottleneck(8, 16, kernel_size=5, stride=2), None),
            block(bottleneck(16, 16, kernel_size=7, expand_ratio=6), identity(16)),
            block({"name": "ZeroLayer", "stride": 1}, identity(16)),
        ],
    }


def mobilenet() -> dict[str, Any]:
    """In the form of Once-for-All's ``net.config``: squeeze-excite, h-swish, lists, dropout."""
    se = {"act_func": "h_swish", "use_se": True}
    return {
        "name": "MobileNetV3",
        "bn": {"momentum": 0.1, "eps": 1e-05},
        "first_conv": conv(3, 16, kernel_size=3, stride=2, act_func="h_swish"),
        "final_expand_layer": conv(24, 48, act_func="h_swish"),
        "feature_mix_layer": conv(48, 64, use_bn=False, act_func="h_swish"),
        "classifier": linear(64, 10, dropout_rate=0.1),
        "blocks": [
            block(
                bottleneck(
                    16, 16, expand_ratio=1, mid_channels=None, act_func="relu", use_se=False
                ),
                identity([16]),
            ),
            block(bottleneck(16, 24, kernel_size=5, stride=2, mid_channels=48, **se), None),
            block(bottleneck(24, 24, expand_ratio=4, mid_channels=96, **se), identity([24])),
            block(bottleneck(24, 24, expand_ratio=4, mid_channels=88, **se), identity([24])),
        ],
    }


PRE: dict[str, Any] = {"ops_order": "bn_act_weight"}


def pool(kind: str, channels: int, kernel: int, stride: int, **fields: Any) -> dict[str, Any]:
    return {
        "name": "PoolingLayer",
        "pool_type": kind,
        "kernel_size": kernel,
        "stride": stride,
        **{key: value for key, value in identity(channels, **PRE).items() if key != "name"},
        **fields,
    }


def depthwise(channels: int, kernel: int, dilation: int = 1) -> dict[str, Any]:
    fields = {"kernel_size": kernel, "dilation": dilation, "act_func": "relu", **PRE}
    return conv(channels, channels, name="DepthConvLayer") | fields


def node(
    in_c: int, out_c: int, edges: list[Any], children: list[Any], **fields: Any
) -> dict[str, Any]:
    return {
        "name": "TreeNode",
        "in_channels": in_c,
        "out_channels": out_c,
        "split_type": "copy",
        "merge_type": "add",
        "has_branch_bn": False,
        "path_drop_rate": 0,
        "edges": edges,
        "child_nodes": children,
        **fields,
    }


def tree_block(in_c: int, width: int, stride: int) -> dict[str, Any]:
    """A block with every op of the published space, 2 branches of 2 leaves in each half."""

    def half(first: Any, second: Any, leaves: list[Any]) -> dict[str, Any]:
        return node(
            width,
            width,
            [first, second],
            [node(width, width, leaves[:2], [None, None]),
             node(width, width, leaves[2:], [None, None])],
        )  # fmt: skip

    plain = identity(width, **PRE)
    average, maximum = pool("avg", width, 3, 1), pool("max", width, 3, 1)
    halves = [
        half(depthwise(width, 3), plain, [depthwise(width, 5), average, maximum, plain]),
        half(maximum, depthwise(width, 3, 2), [depthwise(width, 7), plain, average, average]),
    ]
    split = node(2 * width, width, [plain, plain], halves, split_type="split", has_branch_bn=True)
    grouped = conv(
        width, 2 * width, kernel_size=3, stride=stride, groups=2, has_shuffle=True,
        act_func="relu", **PRE,
    )  # fmt: skip
    return {
        "name": "ResidualTreeBlock",
        "cell_drop_rate": 0.0,
        "final_bn": True,
        "shortcut": identity(in_c, **PRE) if stride == 1 else pool("avg", in_c, 2, 2),
        "in_bottle": conv(in_c, width, act_func=None, **PRE),
        "out_bottle": conv(width, 2 * width, act_func="relu", **PRE),
        "cell": node(width, width, [grouped], [split], split_type=None, merge_type=None),
    }


def pyramid() -> dict[str, Any]:
    """In the form of ``proxyless_cifar.config``: two blocks, the second of stride 2."""
    first = conv(3, 8, kernel_size=3, use_bn=False, act_func=None, **PRE)
    last = pool("avg", 24, 16, 16, use_bn=True, act_func="relu")
    return {
        "name": "PyramidTreeNet",
        "blocks": [
            {"name": "TransitionBlock", "layers": [first, identity(8, use_bn=True, **PRE)]},
            tree_block(8, 8, 1),
            tree_block(16, 12, 2),
            {"name": "TransitionBlock", "layers": [last]},
        ],
        "classifier": linear(24, 10, **PRE),
    }
