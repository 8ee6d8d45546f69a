"""The shape that a model file runs with: what the file fixes, what is said, what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.model_inputs import (
    FileShape,
    ModelInput,
    Size,
    parse_input_shape,
    parse_input_shapes,
    shape_text,
)
from proxyless_hw.profilers.models.input_axes import batch_axis, image_axes
from proxyless_hw.profilers.models.shape_filling import fill_shapes


def item(*sizes: Size, name: str = "x") -> ModelInput:
    return ModelInput(name=name, sizes=sizes, dtype="float32")


@pytest.mark.parametrize(
    ("sizes", "batch", "image"),
    [
        (("batch", 3, "height", "width"), 0, (2, 3)),
        (("?", 3, "?", "?"), 0, (2, 3)),
        ((1, "?", "?", 3), 0, (1, 2)),
        ((8, 3, 32, 32), 0, (2, 3)),
        ((1, 224, 224, 3), 0, (1, 2)),
        ((1, 64, 28, 28), 0, (2, 3)),
        ((1, 28, 28, 64), 0, (1, 2)),
        ((1, 64, "?", "?"), 0, (2, 3)),
        ((1, "?", "?", 64), 0, (1, 2)),
        ((1, 16, 16, 16), 0, None),  # either layout: nobody can tell
        (("?", "?", "?", "?"), 0, None),
        ((3, "height", "width"), None, (1, 2)),
        (("?", "?", 3), None, (0, 1)),
        ((3, 224, 224), None, (1, 2)),
        ((1, 77, 768), 0, None),
        (("seq_len", "batch", 64), 1, None),
        (("seq_len", 1, 64), None, None),
        (("N", 16), 0, None),
        (("s77", 16), 0, None),
        (("batch",), 0, None),
        (("?",), None, None),
        ((16,), None, None),
        ((), None, None),
    ],
)
def test_axes_are_known_by_their_name_or_their_place(
    sizes: tuple[Size, ...], batch: int | None, image: tuple[int, int] | None
) -> None:
    assert batch_axis(item(*sizes)) == batch
    assert image_axes(item(*sizes)) == image


def test_an_open_batch_is_one_until_somebody_says_otherwise() -> None:
    inputs = [item("batch", 3, 32, 32)]
    assert fill_shapes(inputs, FileShape(), "f").batch == 1
    filled = fill_shapes(inputs, FileShape(batch=8), "f")
    assert (filled.batch, filled.shapes["x"]) == (8, (8, 3, 32, 32))


def test_a_fixed_batch_stays_and_is_told() -> None:
    inputs = [item(8, 3, 32, 32)]
    assert fill_shapes(inputs, FileShape(), "f").batch == 8
    assert fill_shapes(inputs, FileShape(batch=8), "f").batch == 8
    with pytest.raises(ProfilingError, match=r"f runs a batch of 8 \(x: 8 x 3 x 32 x 32\), not of"):
        fill_shapes(inputs, FileShape(batch=1), "f")


def test_open_heights_and_widths_are_never_guessed() -> None:
    inputs = [item("N", 3, "h", "w")]
    with pytest.raises(ProfilingError, match=r"--resolution N, or --input-shape x:1,3,H,W"):
        fill_shapes(inputs, FileShape(), "f")
    filled = fill_shapes(inputs, FileShape(resolution=64), "f")
    assert (filled.shapes["x"], filled.resolution) == ((1, 3, 64, 64), 64)
    filled = fill_shapes(inputs, FileShape(input_shapes={"x": (2, 3, 48, 64)}), "f")
    assert (filled.shapes["x"], filled.batch, filled.resolution) == ((2, 3, 48, 64), 2, None)


def test_an_open_length_is_asked_for_by_the_one_option_that_helps() -> None:
    with pytest.raises(ProfilingError, match=r"Give them: --input-shape ids:1,SEQ\."):
        fill_shapes([item("batch", "seq", name="ids")], FileShape(), "f")


def test_one_name_is_one_size_in_all_inputs() -> None:
    inputs = [item("batch", "seq", name="ids"), item("batch", "seq", name="mask")]
    filled = fill_shapes(inputs, FileShape(input_shapes={"ids": (2, 7)}), "f")
    assert filled.shapes == {"ids": (2, 7), "mask": (2, 7)}
    two = FileShape(input_shapes={"ids": (2, 7), "mask": (2, 8)})
    with pytest.raises(ProfilingError, match="uses one size 'seq' that is given as 7 and as 8"):
        fill_shapes(inputs, two, "f")


def test_a_name_used_for_the_batch_and_for_sides_is_no_name() -> None:
    """Some exporters call every open size the same; the batch must not become the height."""
    filled = fill_shapes([item("dyn", 3, "dyn", "dyn")], FileShape(resolution=16), "f")
    assert filled.shapes["x"] == (1, 3, 16, 16)


def test_inputs_that_differ_in_batch_have_none() -> None:
    inputs = [item(8, 16, name="a"), item(1, 16, name="b")]
    assert fill_shapes(inputs, FileShape(), "f").batch is None
    with pytest.raises(ProfilingError, match="a batch of 1, 8"):
        fill_shapes(inputs, FileShape(batch=8), "f")
    third = item("N", 4, name="c")
    with pytest.raises(ProfilingError, match=r"--input-shape c:N,4"):
        fill_shapes([*inputs, third], FileShape(), "f")


def test_templates_and_searched_images_may_differ_in_size() -> None:
    inputs = [item(1, 3, 127, 127, name="z"), item(1, 3, "?", "?", name="x")]
    with pytest.raises(ProfilingError, match="takes images of another size"):
        fill_shapes(inputs, FileShape(resolution=255), "f")
    filled = fill_shapes(inputs, FileShape(input_shapes={"x": (1, 3, 255, 255)}), "f")
    assert filled.shapes["x"] == (1, 3, 255, 255)


def test_a_resolution_leaves_inner_maps_alone() -> None:
    inputs = [item(1, 3, "?", "?", name="image"), item(1, 64, 28, 28, name="map")]
    filled = fill_shapes(inputs, FileShape(resolution=224), "f")
    assert filled.shapes == {"image": (1, 3, 224, 224), "map": (1, 64, 28, 28)}


@pytest.mark.parametrize(
    ("inputs", "wanted", "message"),
    [
        ([item(3, 8)], FileShape(resolution=8), "no image input"),
        ([item(16)], FileShape(batch=1), "no batch that --batch-size 1 could set"),
        ([item(1, 3, 8, 8)], FileShape(resolution=9), "another size"),
        ([item(1, 8)], FileShape(input_shapes={"x": (1, 9)}), r"x: 1 x 8, which --input-shape x:1"),
        ([item(1, 8)], FileShape(input_shapes={"x": (8,)}), "contradicts"),
        ([item("?", 8)], FileShape(input_shapes={"x": (2, 8)}, batch=3), "a batch of 2"),
        ([item(1, 8)], FileShape(input_shapes={"y": (1, 8)}), "no input 'y'.*Inputs: x"),
        (
            [item(1, 8, name="a"), item(1, 8, name="b")],
            FileShape(input_shapes={"": (1, 8)}),
            "has 2 inputs: name one",
        ),
        ([item(0, 8)], FileShape(), "without elements"),
        ([ModelInput(name="x", sizes=None, dtype="float32")], FileShape(), "x: unknown"),
    ],
)
def test_what_contradicts_the_file_is_refused(
    inputs: list[ModelInput], wanted: FileShape, message: str
) -> None:
    with pytest.raises(ProfilingError, match=message):
        fill_shapes(inputs, wanted, "f")


def test_a_rank_that_the_file_does_not_tell_is_taken_from_the_user() -> None:
    inputs = [ModelInput(name="x", sizes=None, dtype="float32")]
    filled = fill_shapes(inputs, FileShape(input_shapes={"x": (2, 3)}), "f")
    assert (filled.shapes["x"], filled.batch) == ((2, 3), None)


SIZES = st.one_of(
    st.integers(1, 6), st.sampled_from(["batch", "N", "height", "width", "seq", "?", "s0"])
)
INPUTS = st.lists(st.lists(SIZES, max_size=4), min_size=1, max_size=3).map(
    lambda shapes: [item(*sizes, name=f"x{index}") for index, sizes in enumerate(shapes)]
)


@given(
    inputs=INPUTS,
    batch=st.none() | st.integers(1, 6),
    resolution=st.none() | st.integers(1, 6),
    data=st.data(),
)
def test_what_is_said_is_what_runs_or_it_is_refused(
    inputs: list[ModelInput], batch: int | None, resolution: int | None, data: st.DataObject
) -> None:
    named = data.draw(st.lists(st.sampled_from(inputs), unique_by=lambda entry: entry.name))
    shapes = {
        entry.name: tuple(
            size if isinstance(size, int) else data.draw(st.integers(1, 6))
            for size in entry.sizes or ()
        )
        for entry in named
    }
    wanted = FileShape(batch=batch, resolution=resolution, input_shapes=shapes)
    try:
        filled = fill_shapes(inputs, wanted, "f")
    except ProfilingError:
        return
    assert list(filled.shapes) == [entry.name for entry in inputs]
    for entry in inputs:
        sizes = entry.sizes or ()
        shape = filled.shapes[entry.name]
        assert len(shape) == len(sizes)
        assert all(a == b for a, b in zip(sizes, shape, strict=True) if isinstance(a, int))
        assert shapes.get(entry.name, shape) == shape
        axis, sides = batch_axis(entry), image_axes(entry)
        if batch is not None and axis is not None:
            assert shape[axis] == filled.batch == batch
        if sides is not None and resolution is not None and len(inputs) == 1:
            assert {shape[sides[0]], shape[sides[1]]} == {resolution} == {filled.resolution}
        # What nobody said and the file leaves open is a batch of 1, or known by its name.
        for place, size in enumerate(sizes):
            if isinstance(size, str) and not shapes and resolution is None:
                assert place == axis or size in ("batch", "N", "seq", "s0", "height", "width")
    if batch is not None:
        assert filled.batch == batch


@pytest.mark.parametrize(
    ("text", "name", "shape"),
    [
        ("x:1,3,224,224", "x", (1, 3, 224, 224)),
        ("x:1x3x224x224", "x", (1, 3, 224, 224)),
        ("serving_default_args_0:0:1,8", "serving_default_args_0:0", (1, 8)),
        ("1,3,8,8", "", (1, 3, 8, 8)),
        ("scale:", "scale", ()),
        ("x: 1, 3", "x", (1, 3)),
    ],
)
def test_input_shapes_are_read(text: str, name: str, shape: tuple[int, ...]) -> None:
    assert parse_input_shape(text) == (name, shape)


@pytest.mark.parametrize(
    "text", ["", ":", "x", "x:1,-3", "x:0,3", "x:1,,3", "x:1.5", "x:batch,3", "x:9999999999", "x:²"]
)
def test_other_input_shapes_are_refused(text: str) -> None:
    with pytest.raises(ProfilingError, match="--input-shape"):
        parse_input_shape(text)


def test_an_input_is_given_once() -> None:
    with pytest.raises(ProfilingError, match="gives input 'x' twice"):
        parse_input_shapes(["x:1,2", "x:1,3"])


def test_shapes_in_words() -> None:
    assert shape_text({"x": (1, 3, 8, 8)}) == "1x3x8x8"
    assert shape_text({"a": (1, 3), "s": ()}) == "a:1x3, s:scalar"
