"""Device options: each is applied exactly as given, or refused with the nearest match."""

from __future__ import annotations

import json
import string
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyless_hw.errors import ProfilingError
from proxyless_hw.profilers.android.bundle import write_bundle
from proxyless_hw.profilers.android.delegates import DELEGATE_FLAGS
from proxyless_hw.profilers.base import ProfilerSettings
from proxyless_hw.profilers.device_options import (
    CommandOptions,
    CpuOptions,
    LiteRtOptions,
    MobileOptions,
    option_flags,
)
from proxyless_hw.profilers.options import (
    Option,
    described_options,
    given_options,
    option,
    parse_options,
)
from proxyless_hw.profilers.profile import ProfileConfig
from proxyless_hw.profilers.registry import (
    BUILT_IN,
    built_in_options,
    get_profiler,
    profiler_settings,
)

PROFILERS = [(kind, runtime) for kind, homes in BUILT_IN.items() for runtime in homes]
PAGE = Path(__file__).parents[2] / "docs" / "devices.md"


def options_of(kind: str, runtime: str) -> list[Option]:
    return described_options(BUILT_IN[kind][runtime].options)


def parsed(kind: str, runtime: str, options: dict[str, str], metric: Any = "latency") -> Any:
    settings = ProfilerSettings(runtime=runtime, metric=metric, options=options)
    return profiler_settings(kind, settings).options


def metric_for(item: Option) -> str:
    return "latency" if item.metrics is None else item.metrics[0]


@given(data=st.data(), profiler=st.sampled_from(PROFILERS))
def test_any_name_is_an_option_of_the_profiler_or_refused(
    data: st.DataObject, profiler: tuple[str, str]
) -> None:
    known = {item.name for item in options_of(*profiler)}
    near = st.sampled_from(sorted(known)).flatmap(
        lambda name: st.sampled_from([name[:-1], f"{name}s", name.upper(), name.replace("_", "-")])
    )
    elsewhere = sorted({item.name for listed in built_in_options().values() for item in listed})
    name = data.draw(near | st.sampled_from(elsewhere) | st.text(min_size=1, max_size=200))
    if name in known:
        return
    with pytest.raises(ProfilingError, match=r"has no option|does not apply to"):
        parsed(*profiler, {name: "1"})


@given(data=st.data(), profiler=st.sampled_from(PROFILERS))
def test_any_value_is_applied_exactly_or_refused(
    data: st.DataObject, profiler: tuple[str, str]
) -> None:
    item = data.draw(st.sampled_from(options_of(*profiler)))
    text = data.draw(
        st.text(max_size=30)
        | st.text(string.digits + "+-.eE_", max_size=12)
        | st.integers().map(str)
        | st.floats().map(str)
        | st.sampled_from([*item.choices, "0", "1", "f0", "nan", "inf", "", "true"])
    )
    try:
        value = getattr(parsed(*profiler, {item.name: text}, metric_for(item)), item.name)
    except ProfilingError as cause:
        refusal = str(cause)
    else:
        refusal = ""
    if refusal:
        assert f"{item.typed} must be {item.rule}" in refusal
        return
    if item.kind in (int, float):
        assert value == float(text)
        assert item.low is None or value >= item.low
        assert item.high is None or value <= item.high
    elif item.kind is Path:
        assert value == Path(text)
    else:
        assert value == text
        assert not item.choices or value in item.choices


@given(data=st.data(), profiler=st.sampled_from(PROFILERS))
def test_options_survive_their_text_form(data: st.DataObject, profiler: tuple[str, str]) -> None:
    cls = BUILT_IN[profiler[0]][profiler[1]].options
    values: dict[str, Any] = {}
    for item in data.draw(st.sets(st.sampled_from(options_of(*profiler)))):
        if item.choices:
            values[item.name] = data.draw(st.sampled_from(item.choices))
        elif item.kind is int:
            values[item.name] = data.draw(st.integers(int(item.low or 0), int(item.high or 99)))
        elif item.kind is float:
            values[item.name] = data.draw(st.floats(item.low or 0.0, item.high))
        elif item.kind is Path:
            values[item.name] = Path("/a b")
        else:
            values[item.name] = "f0" if item.pattern else "a text"
    if values.get("cache") == "hot":
        values.pop("cache_mb", None)
    made = cls(**values)
    through_json = json.loads(json.dumps(given_options(made)))
    assert parse_options(cls, through_json) == made


@pytest.mark.parametrize(
    ("kind", "runtime", "options", "message"),
    [
        ("cpu", "onnxruntime", {"cach": "hot"}, "Did you mean 'cache'?"),
        ("cpu", "onnxruntime", {"cache-mb": "3"}, "Did you mean 'cache_mb'?"),
        ("cpu", "onnxruntime", {"Cache": "hot"}, "Did you mean 'cache'?"),
        ("cpu", "torch", {"cache": "cool"}, "Did you mean 'cold'?"),
        ("cpu", "onnxruntime", {"delegate": "xnnpack"}, "does not apply to --device cpu --runtime"),
        ("cpu", "onnxruntime", {"delegate": "xnnpack"}, "it is for --device cpu --runtime litert"),
        ("cpu", "litert", {"delegate": "xnnpac"}, "Did you mean 'xnnpack'?"),
        ("cpu", "litert", {"delegate": "gpu"}, "run on a phone: --device mobile"),
        ("cpu", "onnxruntime", {"pattern": "(.)"}, "it is for --device command"),
        ("cpu", "onnxruntime", {"threads": "4"}, "it is set by --threads"),
        ("cpu", "onnxruntime", {"batch_size": "4"}, "it is set by --batch-size"),
        ("gpu", "torch", {"cache": "hot"}, "does not apply to --device gpu --runtime torch"),
        ("gpu", "tensorrt", {"l2": "cold"}, "it is for --device gpu --runtime torch"),
        ("mobile", "tflite", {"delegate": "gpus"}, "Did you mean 'gpu'?"),
        ("mobile", "tflite", {"delegate_partial": "yes"}, "one of refuse, allow"),
        ("mobile", "tflite", {"serial": ""}, "--serial must be a text that is not empty"),
        ("command", "command", {"unit": "sec"}, "--unit must be one of ns, us, ms, s"),
        ("command", "command", {"model_format": "onyx"}, "Did you mean 'onnx'?"),
    ],
)
def test_the_message_names_the_nearest_match_or_where_it_belongs(
    kind: str, runtime: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ProfilingError) as refusal:
        get_profiler(kind, ProfilerSettings(runtime=runtime, options=options))
    assert message in str(refusal.value)


@pytest.mark.parametrize(
    ("metric", "options", "message"),
    [
        ("latency", {"powercap": "/sys"}, "--metric energy only: received --metric latency"),
        ("energy", {"cache": "network"}, "--metric latency only: received --metric energy"),
        ("energy", {"cache_mb": "30"}, "--metric latency only"),
    ],
)
def test_an_option_without_meaning_for_a_metric_is_refused(
    metric: Any, options: dict[str, str], message: str
) -> None:
    with pytest.raises(ProfilingError, match=message):
        parsed("cpu", "onnxruntime", options, metric)


@pytest.mark.parametrize("kind", ["gpu", "command"])
def test_processors_are_refused_where_nothing_is_pinned(kind: str) -> None:
    with pytest.raises(ProfilingError, match=f"--device {kind} does not do"):
        profiler_settings(kind, ProfilerSettings(cpus=(0,)))


def test_a_profiler_holds_its_options_typed() -> None:
    options = {"cache": "hot", "delegate": "none"}
    profiler = get_profiler("cpu", ProfilerSettings(runtime="litert", options=options))
    assert profiler.settings.options == LiteRtOptions(cache="hot", delegate="none")
    again = get_profiler("cpu", profiler.settings)
    assert again.settings == profiler.settings


def test_options_of_another_profiler_are_refused() -> None:
    with pytest.raises(
        ProfilingError, match="takes OnnxRuntimeOptions as options: received MobileOptions"
    ):
        get_profiler("cpu", ProfilerSettings(options=MobileOptions()))


def test_an_instance_is_checked_as_texts_are() -> None:
    with pytest.raises(ProfilingError, match=r"cache_mb must be a number from 0\.01 to 4096"):
        CpuOptions(cache_mb=0)
    with pytest.raises(ProfilingError, match="Did you mean 'network'"):
        CpuOptions(cache="netwerk")  # type: ignore[arg-type]  # what is refused
    with pytest.raises(ProfilingError, match="timeout must be a number"):
        CommandOptions(timeout=True)


def test_a_dataclass_of_ones_own_is_parsed_too() -> None:
    @dataclass(frozen=True, kw_only=True)
    class BoardOptions:
        port: str
        watts: float = 5.0
        fan: bool = False
        mode: Literal["eco", "turbo"] | None = option(None, "how fast", flag="--mode")

    made = parse_options(BoardOptions, {"port": "/dev/tty", "fan": "yes", "watts": 3})
    assert (made.port, made.watts, made.fan, made.mode) == ("/dev/tty", 3.0, True, None)
    assert given_options(made) == {"port": "/dev/tty", "watts": "3.0", "fan": "true"}
    with pytest.raises(ProfilingError, match="BoardOptions needs --option port"):
        parse_options(BoardOptions, {})
    with pytest.raises(ProfilingError, match="fan must be true or false"):
        parse_options(BoardOptions, {"port": "x", "fan": "maybe"})


def test_a_type_that_no_option_can_have_is_its_authors_mistake() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Wrong:
        sizes: list[int] | None = None

    with pytest.raises(TypeError, match=r"Wrong.sizes: an option is int, float"):
        parse_options(Wrong, {})


def test_the_phones_delegates_are_the_tools() -> None:
    (delegate,) = (item for item in described_options(MobileOptions) if item.name == "delegate")
    assert set(delegate.choices) == set(DELEGATE_FLAGS)


def test_every_option_says_what_it_is() -> None:
    for place, listed in built_in_options().items():
        for item in listed:
            assert item.help, f"{place} {item.name}"


def test_every_flag_of_an_option_is_a_parameter_of_the_measuring_commands() -> None:
    from proxyless_hw.commands import benchmark, profile, validate

    for module in (profile, benchmark, validate):
        names = {parameter.name for parameter in module.command.params}
        assert {flag.name for flag in option_flags()} <= names


def test_the_documentation_lists_every_option() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for listed in built_in_options().values():
        for item in listed:
            typed = item.typed if item.flag else f"--option {item.name}="
            assert f"`{typed}`" in page, typed


@pytest.mark.parametrize("name", ["serial", "adb", "benchmark_model", "max_battery_c", "runz"])
def test_a_bundle_refuses_what_its_script_cannot_apply(name: str, tmp_path: Path) -> None:
    config = ProfileConfig(
        output=tmp_path / "t.csv", device="mobile", settings=ProfilerSettings(options={name: "50"})
    )
    with pytest.raises(ProfilingError, match=name):
        write_bundle(config, tmp_path / "bundle")
