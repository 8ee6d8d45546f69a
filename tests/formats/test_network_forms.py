"""Forms of a network that other tools write beside the published ones."""

import json
from pathlib import Path

import pytest
from published_forms import mobilenet, proxyless

from proxyless_hw.errors import ArchitectureError
from proxyless_hw.formats.encodings import from_encoding
from proxyless_hw.formats.load import load_architecture
from proxyless_hw.formats.net_config import from_net_config, to_net_config
from proxyless_hw.predictors.sources import at_deployment_shape, own_shape_note
from proxyless_hw.space.counting import count_parameters
from proxyless_hw.space.search_space import SearchSpace
from proxyless_hw.tables.table import LatencyTable

CASES = Path(__file__).parent.parent / "cases" / "networks"
TODAY = CASES / "c01_ofa_pip_0.1_subnet.config"
ENCODING = CASES / "c04_help_ofa_arch.json"
SPACE = SearchSpace.load("mobilenet-v3")


def test_todays_form_of_once_for_all_is_read_and_comes_back_exactly() -> None:
    document = json.loads(TODAY.read_text())
    arch = load_architecture(TODAY)
    assert len(arch.blocks) == len(document["blocks"])
    for block, given in zip(arch.blocks, document["blocks"], strict=True):
        inner = given["conv"]
        assert (block.in_c, block.out_c) == (inner["in_channels"], inner["out_channels"])
        assert (block.kernel, block.stride) == (inner["kernel_size"], inner["stride"])
        assert block.se == int(inner["use_se"])
        assert block.skip == (given["shortcut"] is not None)
        middle = inner["mid_channels"] or inner["in_channels"]
        assert block.mid_c == middle
    assert to_net_config(arch) == document


def test_both_forms_of_once_for_all_give_one_network() -> None:
    old = mobilenet()
    new = {**old, "bn": {**old["bn"], "ws_eps": None}}
    new["blocks"] = [
        {
            "name": "ResidualBlock",
            "conv": {**b["mobile_inverted_conv"], "name": "MBConvLayer", "groups": None},
            "shortcut": b["shortcut"],
        }
        for b in old["blocks"]
    ]
    one, two = from_net_config(old), from_net_config(new)
    assert (one.stem, one.blocks, one.head) == (two.stem, two.blocks, two.head)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 2}, r"blocks\[1\]\.conv\.groups must be null"),
        ({"name": "DynamicMBConvLayer"}, r"blocks\[1\]\.conv\.name must be one of"),
        ({"extra": 1}, r"blocks\[1\]\.conv has an unknown field 'extra'"),
    ],
)
def test_what_todays_form_may_hold_beyond_us_is_refused(change: dict, message: str) -> None:
    document = json.loads(TODAY.read_text())
    document["blocks"][1]["conv"].update(change)
    with pytest.raises(ArchitectureError, match=message):
        from_net_config(document)


def test_weight_standardisation_and_outer_squeeze_excite_are_refused() -> None:
    document = json.loads(TODAY.read_text())
    with pytest.raises(ArchitectureError, match="ws_eps must be null"):
        from_net_config({**document, "bn": {**document["bn"], "ws_eps": 1e-5}})
    conv = {**document["first_conv"], "use_se": True}
    with pytest.raises(ArchitectureError, match=r"first_conv\.use_se must be false"):
        from_net_config({**document, "first_conv": conv})


def test_the_resolution_of_mcunet_and_of_run_config_count(tmp_path: Path) -> None:
    document = {**proxyless(), "resolution": 144}
    arch = from_net_config(document)
    assert arch.resolution == 144
    assert to_net_config(arch) == document
    (tmp_path / "net.config").write_text(json.dumps(proxyless()))
    assert load_architecture(tmp_path / "net.config").resolution == 224
    (tmp_path / "run.config").write_text('{"image_size": 176, "n_epochs": 1}')
    arch = load_architecture(tmp_path / "net.config")
    assert arch.resolution == 176
    table = LatencyTable.load("note10")
    assert table.resolutions == (224,)
    assert at_deployment_shape(arch, table).resolution == 176
    assert at_deployment_shape(arch, table, resolution=224).resolution == 224
    note = own_shape_note("net.config", arch, table)
    assert note == "net.config is priced at 176 pixels, as run.config says."
    assert own_shape_note("net.config", arch, table, resolution=224) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"image_size": "176"}', "image_size must be a whole number from 1 .*'176'"),
        ("[]", "run.config must be a mapping"),
        ("{", "not JSON"),
    ],
)
def test_a_broken_run_config_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "net.config").write_text(json.dumps(proxyless()))
    (tmp_path / "run.config").write_text(text)
    with pytest.raises(ArchitectureError, match=message):
        load_architecture(tmp_path / "net.config")


def test_an_encoding_is_the_network_of_its_space() -> None:
    document = json.loads(ENCODING.read_text())
    arch = load_architecture(ENCODING, space=SPACE)
    assert (arch.resolution, arch.num_classes) == (176, 1000)
    slots = arch.blocks[1:]
    for stage, depth in enumerate(document["d"]):
        for place in range(4):
            number = 4 * stage + place
            block = slots[number]
            assert block.is_zero == (place >= depth)
            if not block.is_zero:
                chosen = (document["ks"][number], document["e"][number])
                assert (block.kernel, block.expand) == chosen
    assert arch.choices_in(SPACE)
    wider = from_encoding(document, SearchSpace.load("mobilenet-v3-w1.2"))
    assert count_parameters(wider) > count_parameters(arch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ks": [3] * 19}, "ks must be a list of 20, the slots of space 'mobilenet-v3'"),
        ({"e": 3}, "e must be a list of 20"),
        ({"d": [2, 3, 3, 3, 5]}, r"d\[4\] must be from 0 to 4: received 5"),
        ({"d": [0, 3, 3, 3, 3]}, "removes slot 0, which the space does not allow"),
        ({"ks": [3.0] * 20}, r"ks\[0\] must be a whole number"),
        ({"ks": [9] * 20}, r"ks\[0\] and e\[0\] must be a kernel and an expansion of the space"),
        ({"r": 0}, "r must be from 1"),
        ({"wid": 1.2}, "choose the width by the space"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_an_encoding_that_is_not_of_the_space_is_refused(change: dict, message: str) -> None:
    document = {**json.loads(ENCODING.read_text()), **change}
    with pytest.raises(ArchitectureError, match=message):
        from_encoding(document, SPACE)


def test_an_encoding_as_python_prints_it_and_under_another_name_of_its_resolution(
    tmp_path: Path,
) -> None:
    document = json.loads(ENCODING.read_text())
    (tmp_path / "printed.txt").write_text(str(document))
    assert load_architecture(tmp_path / "printed.txt", space=SPACE) == load_architecture(
        ENCODING, space=SPACE
    )
    side = document.pop("r")
    assert from_encoding({**document, "image_size": side}, SPACE).resolution == side
    with pytest.raises(ArchitectureError, match="must not stand beside another resolution"):
        from_encoding({**document, "r": side, "resolution": side}, SPACE)


def test_the_folder_of_a_published_network_is_its_net_config(tmp_path: Path) -> None:
    (tmp_path / "net.config").write_text(json.dumps(proxyless()))
    (tmp_path / "run.config").write_text('{"image_size": 160}')
    assert load_architecture(tmp_path).resolution == 160
    (tmp_path / "subnet.config").write_text(json.dumps(proxyless()))  # which of the two?
    with pytest.raises(ArchitectureError, match=r"holds no architecture\.json"):
        load_architecture(tmp_path)


def test_timms_nested_list_is_its_block_strings(tmp_path: Path) -> None:
    listed, lines = tmp_path / "listed.py", tmp_path / "lines.txt"
    listed.write_text(
        "[\n  ['ds_r1_k3_s1_e1_c16'],\n  ['ir_r2_k3_s2_e6_c24', 'cn_r1_k1_s1_c96'],\n]"
    )
    lines.write_text("ds_r1_k3_s1_e1_c16\nir_r2_k3_s2_e6_c24\ncn_r1_k1_s1_c96\n")
    assert load_architecture(listed).blocks == load_architecture(lines).blocks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"arch": {"ks": [3]}, "acc": 75.1}', "its keys are arch, acc. Known are our JSON"),
        ('[{"ks": [3]}]', "is a list, which must hold block strings"),
        ("[]", "received nothing"),
    ],
)
def test_json_of_no_known_form_is_refused_with_the_known_ones(
    text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(ArchitectureError, match=message):
        load_architecture(tmp_path / "n.json")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("w.PTH", r"holds weights, and no network.*import-weights .*w\.PTH"),
        ("m.tflite", r"is measured as it is.*benchmark .*m\.tflite"),
    ],
)
def test_a_file_that_is_no_network_names_the_command_for_it(
    name: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"\x80\xff")
    with pytest.raises(ArchitectureError, match=message):
        load_architecture(tmp_path / name)


def test_an_encoding_without_a_space_names_the_option() -> None:
    with pytest.raises(ArchitectureError, match=r"say which space .*--space mobilenet-v3"):
        load_architecture(ENCODING)
