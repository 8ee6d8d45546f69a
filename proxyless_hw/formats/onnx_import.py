"""Which known ops an ONNX file is made of: the inverse of exporting a network.

A BatchNorm that export folded away leaves a biased convolution: that is read as ``conv``, as is one
with its BatchNorm still behind it (runtimes fold it), and a convolution with neither as
``conv_nobn``. A pointwise convolution with an activation before a depthwise one is read as the
expansion of one ``mbconv``, also where it is grouped and its channels are shuffled behind it.
`onnx_rows` says which convolutions are a ``uib`` or a ``fused_mbconv``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

from proxyless_hw.errors import ArchitectureError, PredictorError
from proxyless_hw.formats.onnx_activations import (
    hard_sigmoid_end,
    hard_swish_end,
    relu6_end,
)
from proxyless_hw.formats.onnx_channels import shuffled
from proxyless_hw.formats.onnx_graph import Graph, Node
from proxyless_hw.formats.onnx_rows import LONGEST_ROW, Convolution, row_block
from proxyless_hw.space.architecture import Architecture
from proxyless_hw.space.op_names import SHORTCUT_OPS
from proxyless_hw.space.specs import (
    LayerSpec,
    OpVariant,
    op_variant,
    squeeze_act,
    squeeze_width,
)

_FLATTENING: Final = ("Flatten", "Reshape", "Squeeze")


def architecture_from_onnx(path: Path, resolution: int | None = None) -> Architecture:
    """Reads an ONNX file as a chain of known ops at the file's own input size.

    Provenance names the file and its batch (None where it is open), says ``own_shape``, and lists
    under ``not_priced`` the nodes around the network that no op stands for (normalisation of the
    input, softmax).

    Args:
        path: an .onnx file.
        resolution: height and width where the file leaves them open.

    Raises:
        PredictorError: the file is no ONNX model, or holds something that no known op is; named.
    """
    return _Reader(Graph(path, resolution)).read()


class _Reader:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[LayerSpec] = []
        self.not_priced: list[str] = []
        self.tensor = graph.input

    def read(self) -> Architecture:
        graph = self.graph
        if graph.height != graph.width:
            graph.fail(f"takes {graph.height}x{graph.width} images; square ones are priced")
        self.input_scaling()
        while self.tensor != graph.output:
            if len(self.layers) > len(graph.nodes):
                graph.fail("goes round in a circle")
            self.layer()
        places = [
            index
            for index, layer in enumerate(self.layers)
            if op_variant(layer.op).base in SHORTCUT_OPS
        ]
        first, last = (places[0], places[-1] + 1) if places else (1, 1)
        try:
            return Architecture(
                space=Path(graph.source).stem[:80],
                resolution=graph.height,
                num_classes=self.layers[-1].out_c if self.layers else 1,
                stem=tuple(self.layers[:first]),
                blocks=tuple(self.layers[first:last]),
                head=tuple(self.layers[last:]),
                provenance={
                    "source": graph.source,
                    "own_shape": True,
                    "batch_size": graph.batch_size,
                    "not_priced": self.not_priced,
                },
            )
        except ArchitectureError as cause:
            raise PredictorError(
                f"{graph.source} is not a network of known ops: {cause}"
            ) from cause

    def input_scaling(self) -> None:
        """Passes over a multiplication and an addition of constants at the input."""
        node = self.graph.user(self.tensor, "Mul", "Add")
        while node is not None and len(node.weights) == 1:
            self.not_priced.append(node.kind)
            self.tensor = node.output
            node = self.graph.user(self.tensor, "Mul", "Add")

    def layer(self) -> None:
        """Reads one layer from the current tensor on."""
        users = self.graph.users(self.tensor)
        convolutions = [node for node in users if node.kind == "Conv"]
        others = [node for node in users if node.kind not in ("Conv", "Add")]
        if len(convolutions) == 1 and not others:
            self.convolution(convolutions[0])
        elif len(users) == 1 and users[0].kind in ("GlobalAveragePool", "ReduceMean"):
            self.pooling(users[0])
        elif len(users) == 1 and users[0].kind == "Softmax" and self.layers:
            self.not_priced.append("Softmax")
            self.tensor = users[0].output
        else:
            kinds = ", ".join(node.kind for node in users) or "nothing"
            self.fail(f"{kinds} after {self.tensor[:100]}")

    def convolution(self, node: Node) -> None:
        start = self.tensor
        first = self.conv(node)
        block = row_block(
            self.row(first),
            lambda end: self.addition(start, end) is not None,
            is_stem=not self.layers,
        )
        if block is not None:
            layer, behind_it = block
            self.layers.append(replace(layer, skip=self.join(start, behind_it)))
            return
        if first.is_depthwise:
            self.mbconv(start, None, first)
            return
        end = shuffled(self.graph, first.output, first.out_c, first.groups)
        behind = self.graph.user(end or first.output, "Conv")
        if first.is_pointwise and first.act != "none" and behind is not None:
            depthwise = self.conv(behind)
            same = depthwise.is_depthwise and depthwise.act == first.act
            if same and (first.groups == 1 or self.projects_groups(depthwise, first.groups)):
                self.mbconv(start, first, depthwise, shuffle=end is not None)
                return
        name = "conv" if first.has_bias else "conv_nobn"
        if first.groups > 1:
            name += f"_g{first.groups}"
        layer = LayerSpec(
            name,
            first.in_c,
            first.out_c,
            kernel=first.kernel,
            stride=first.stride,
            act=first.act,
        )
        self.layers.append(replace(layer, skip=self.join(start, first.output)))

    def row(self, first: Convolution) -> list[Convolution]:
        """A convolution and those behind it, each the only reader of the one before it."""
        row = [first]
        while len(row) < LONGEST_ROW:
            node = self.graph.user(row[-1].output, "Conv")
            if node is None:
                break
            row.append(self.conv(node))
        return row

    def addition(self, start: str, end: str) -> Node | None:
        """The residual addition of the block from one tensor to another; None without one."""
        added = self.graph.user(end, "Add")
        return added if added is not None and set(added.inputs) == {start, end} else None

    def join(self, start: str, end: str) -> bool:
        """Moves behind a block, and says whether it ends with a residual addition."""
        added = self.graph.user(end, "Add")
        if added is not None and self.addition(start, end) is None:
            self.fail(f"{added.name}, which adds what is not a block's own input")
        self.tensor = end if added is None else added.output
        return added is not None

    def mbconv(
        self,
        start: str,
        expansion: Convolution | None,
        depthwise: Convolution,
        *,
        shuffle: bool = False,
    ) -> None:
        tensor, squeezed = self.squeeze_excite(depthwise)
        node = self.graph.user(tensor, "Conv")
        if node is None:
            self.fail(f"no pointwise convolution behind the depthwise one, {depthwise.node.name}")
        project = self.conv(node)
        if not project.is_pointwise or project.act != "none":
            self.fail(f"{project.node.name}, which should project a block linearly")
        if project.groups != (expansion.groups if expansion else 1):
            self.fail(f"{project.node.name}, which has other groups than the expansion")
        in_c, mid_c = (expansion or depthwise).in_c, depthwise.in_c
        variant = OpVariant(
            "mbconv",
            groups=project.groups,
            shuffle=shuffle,
            pw=expansion is not None and mid_c == in_c and project.groups == 1,
        )
        skip = self.join(start, project.output)
        self.layers.append(
            LayerSpec(
                variant.name,
                in_c,
                project.out_c,
                kernel=depthwise.kernel,
                stride=depthwise.stride,
                expand=mid_c // in_c if mid_c % in_c == 0 else mid_c / in_c,
                skip=skip,
                act=depthwise.act,
                se=squeezed,
            )
        )

    def projects_groups(self, depthwise: Convolution, groups: int) -> bool:
        """Whether the convolution behind a depthwise one has these groups."""
        node = self.graph.user(self.squeeze_excite(depthwise)[0], "Conv")
        return node is not None and self.conv(node).groups == groups

    def squeeze_excite(self, depthwise: Convolution) -> tuple[str, int]:
        """(tensor behind it, the layer's `se`); without a squeeze, the tensor itself and 0."""
        users = self.graph.users(depthwise.output)
        pools = [node for node in users if node.kind in ("GlobalAveragePool", "ReduceMean")]
        if len(pools) != 1:
            return depthwise.output, 0
        self.check_pooling(pools[0])
        reduce = self.graph.user(pools[0].output, "Conv")
        squeeze = self.conv(reduce) if reduce is not None else None
        expand = self.graph.user(squeeze.output, "Conv") if squeeze is not None else None
        kind, end = self.gate(expand.output) if expand else ("", None)
        product = self.graph.user(end, "Mul") if end else None
        if squeeze is None or product is None:
            self.fail(f"{pools[0].name}, which is not a squeeze-and-excite")
        width = squeeze.out_c
        form = width if kind == "Sigmoid" else 1
        fits = width > 1 if kind == "Sigmoid" else width == squeeze_width(depthwise.out_c, 1)
        if not fits or squeeze.act != squeeze_act(depthwise.act, form):
            self.fail(
                f"a squeeze-and-excite with {squeeze.act} and {kind} over {width} channels, behind "
                f"{depthwise.act}"
            )
        return product.output, form

    def gate(self, tensor: str) -> tuple[str, str | None]:
        """(kind of the gate of a squeeze-and-excite, tensor behind it)."""
        node = self.graph.user(tensor, "HardSigmoid", "Sigmoid")
        if node is not None:
            return node.kind, node.output
        return "HardSigmoid", hard_sigmoid_end(self.graph, tensor)

    def check_pooling(self, node: Node) -> None:
        """Refuses a mean over anything but height and width."""
        if node.kind == "GlobalAveragePool":
            return
        axes = node.attributes.get("axes")
        if axes is None and node.weights:
            axes = self.graph.constant(node.weights[0]).ravel().tolist()
        if sorted(int(axis) % 4 for axis in axes or ()) != [2, 3]:
            self.fail(f"{node.name}, a mean over axes {axes}")

    def pooling(self, node: Node) -> None:
        self.check_pooling(node)
        channels = self.layers[-1].out_c if self.layers else self.graph.channels
        flat = self.graph.user(node.output, *_FLATTENING)
        linear = self.graph.user(flat.output if flat else node.output, "Gemm")
        if linear is None:
            self.layers.append(LayerSpec("pool", channels, channels))
            self.tensor = node.output
            return
        shape = self.graph.weight_shape(linear)
        if len(shape) != 2:
            self.fail(f"{linear.name}, whose weights have shape {shape}")
        rows, columns = shape
        classes = rows if linear.attributes.get("transB") else columns
        self.layers.append(LayerSpec("classifier", channels, classes))
        self.tensor = linear.output

    def conv(self, node: Node) -> Convolution:
        shape = self.graph.weight_shape(node)
        if len(shape) != 4 or shape[2] != shape[3]:
            self.fail(f"{node.name}, whose weights have shape {shape}")
        kernel, groups = shape[2], int(node.attributes.get("group", 1))
        strides = [int(size) for size in node.attributes.get("strides", [1, 1])]
        pads = [int(size) for size in node.attributes.get("pads", [0, 0, 0, 0])]
        dilations = [int(size) for size in node.attributes.get("dilations", [1, 1])]
        if strides[0] != strides[1] or set(pads) != {kernel // 2} or set(dilations) != {1}:
            self.fail(
                f"{node.name}, a {kernel}x{kernel} convolution with strides {strides}, padding "
                f"{pads} and dilations {dilations}"
            )
        output = node.output
        norm = self.graph.user(output, "BatchNormalization")
        if norm is not None:
            if norm.attributes.get("training_mode"):
                self.fail(f"{norm.name}, a BatchNormalization in training mode")
            output = norm.output
        act, output = self.activation(output)
        has_bias = len(node.weights) > 1 or norm is not None
        in_c = shape[1] * groups
        return Convolution(node, in_c, shape[0], kernel, strides[0], groups, has_bias, act, output)

    def activation(self, tensor: str) -> tuple[str, str]:
        """(activation, tensor behind it)."""
        users = self.graph.users(tensor)
        gates = [node for node in users if node.kind in ("Sigmoid", "HardSigmoid")]
        products = [node for node in users if node.kind == "Mul"]
        if len(users) == 2 and len(gates) == 1 and len(products) == 1:
            gate, product = gates[0], products[0]
            if set(product.inputs) == {tensor, gate.output}:
                return self.gated(gate), product.output
        end = hard_swish_end(self.graph, tensor)
        if end is not None:
            return "hswish", end
        end = relu6_end(self.graph, tensor)
        if end is not None:
            return "relu6", end
        node = self.graph.user(tensor, "Clip", "Relu", "HardSwish", "Swish")
        if node is None:
            return "none", tensor
        if node.kind == "Clip":
            self.fail(f"{node.name}, a clip that is not ReLU6")
        if node.attributes.get("alpha", 1.0) != 1.0 and node.kind == "Swish":
            self.fail(f"{node.name}, a swish of another alpha than 1")
        return {"Relu": "relu", "HardSwish": "hswish", "Swish": "swish"}[node.kind], node.output

    def gated(self, gate: Node) -> str:
        """Name of the activation x times gate(x)."""
        if gate.kind == "Sigmoid":
            return "swish"
        slope = float(gate.attributes.get("alpha", 0.2))
        offset = float(gate.attributes.get("beta", 0.5))
        if abs(slope - 1 / 6) > 1e-3 or abs(offset - 0.5) > 1e-3:
            self.fail(f"{gate.name}, a HardSigmoid of slope {slope:g} that is not hard-swish's 1/6")
        return "hswish"

    def fail(self, what: str) -> NoReturn:
        self.graph.fail(
            f"is not made of known ops alone: {what[:300]}. Measure the file itself: "
            f"proxyless-hw benchmark {self.graph.source}"
        )
