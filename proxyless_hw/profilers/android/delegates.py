"""Which delegate was asked for on a phone, and whether it is the one that ran.

The log is believed, not the flag: LiteRT 2.x falls back to the CPU without an error, and a tool
warns about a flag that it does not know and goes on. A delegate that was asked for is accepted only
where the log (or the runtime-info file of newer tools) says that it ran the model's nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

from proxyless_hw.errors import ProfilingError, did_you_mean
from proxyless_hw.profilers.android.delegate_log import (
    FAILED_DISPATCH,
    NOT_LOADED,
    DelegateUse,
    Evidence,
)

DELEGATE_FLAGS: Final[dict[str, tuple[str, ...]]] = {
    "default": (),
    "none": ("--use_xnnpack=false",),
    "xnnpack": ("--use_xnnpack=true",),
    "gpu": ("--use_gpu=true",),
    "nnapi": ("--use_nnapi=true",),
    "npu": ("--use_npu=true",),
    "external": (),
}
"""The tool's flags for each --delegate; ``default`` leaves the choice to the build."""

# What runs a node, by a part of the delegate's name in lower case; the first that fits counts.
_KINDS: Final = (
    ("xnnpack", "xnnpack"),
    ("nnapi", "nnapi"),
    ("dispatch", "npu"),
    ("npu", "npu"),
    ("gpu", "gpu"),
    ("litert_cl", "gpu"),
    ("litert_gl", "gpu"),
    ("litert_metal", "gpu"),
    ("metal", "gpu"),
    ("opencl", "gpu"),
    ("opengl", "gpu"),
    ("vulkan", "gpu"),
)


def kind_of(name: str) -> str:
    """The kind of a delegate by its name in a log: a key of `DELEGATE_FLAGS`."""
    lowered = name.lower()
    return next((kind for part, kind in _KINDS if part in lowered), "external")


def _is_asked(name: str, asked: str, library: str) -> bool:
    kind = kind_of(name)
    if asked != "external":
        return kind == asked
    # A library loaded from outside may be a GPU's or an NPU's: its file name says so.
    return kind == "external" or kind in PurePosixPath(library).name.lower()


def delegate_use(evidence: Evidence, asked: str, library: str = "") -> DelegateUse:
    """How much of the model the delegate that was asked for ran.

    Args:
        evidence: what the output says.
        asked: a key of `DELEGATE_FLAGS` that names a delegate.
        library: path of an external delegate.
    """
    if asked != "xnnpack" and _unknown(evidence, DELEGATE_FLAGS[asked], library):
        return "refused"
    if any(_refuses(line, asked) for line in evidence.refusals):
        return "refused"
    use = _use_by_nodes(evidence, asked, library)
    said = [how for name, how in evidence.applied if _is_asked(name, asked, library)]
    if use is None:
        if said:
            return min(said, key=("unused", "partial", "whole").index)
        if asked == "xnnpack" and (evidence.created or evidence.cpu_accelerator):
            alone = all(kind_of(name) == "xnnpack" for name in evidence.created)
            return "whole" if alone and not evidence.applied else "other"
        others = evidence.created or evidence.applied or evidence.cpu_accelerator
        return "other" if others else "unmentioned"
    if use == "whole" and "partial" in said:
        return "partial"
    return use


def _use_by_nodes(evidence: Evidence, asked: str, library: str) -> DelegateUse | None:
    placement = evidence.placement
    if placement is None:
        return None
    mine = sum(count for name, count in placement.nodes if _is_asked(name, asked, library))
    if mine == 0:
        return "other" if placement.replaced else "unused"
    if placement.total is not None and placement.replaced > placement.total:
        return "other"  # two delegates claim the same nodes: one came after the other had failed
    return "whole" if mine == placement.total else "partial"


def _unknown(evidence: Evidence, flags: Sequence[str], library: str) -> bool:
    names = {flag.partition("=")[0] for flag in flags}
    if library:
        names.add("--external_delegate_path")
    return any(flag.partition("=")[0] in names for flag in evidence.unknown_flags)


def _refuses(line: str, asked: str) -> bool:
    """Whether a line of refusal is about the delegate that was asked for."""
    if NOT_LOADED.search(line):
        # Printed for accelerators that nobody asked for as well, and before another library of
        # the same accelerator is found: it explains, but the nodes decide.
        return False
    if FAILED_DISPATCH.search(line):
        return asked == "npu"
    named = {kind for part, kind in _KINDS if part in line.lower()}
    return asked in named or not named


def check_delegate(
    evidence: Evidence, delegate: str, allow_partial: bool, name: str, library: str = ""
) -> None:
    """Checks that the delegate that was asked for, and no other, did the work.

    Args:
        evidence: what the output of one run says.
        delegate: a key of `DELEGATE_FLAGS`.
        allow_partial: accept a model of which something else ran a part.
        name: names the model in messages.
        library: path of an external delegate.

    Raises:
        ProfilingError: another ran the model, or it was refused, or ran only a part or nothing.
    """
    if delegate == "default":
        return
    if delegate == "none":
        _check_none(evidence, name)
        return
    use = delegate_use(evidence, delegate, library)
    if use == "whole" or (use == "partial" and allow_partial):
        return
    ran = evidence.names()
    happened = {
        "partial": f"ran only a part of it: {ran}",
        "unused": "was applied but ran nothing of it",
        "refused": f"was refused: {_reason(evidence, delegate)}",
        "unmentioned": "is not mentioned in the output, so it may not have been applied",
        "other": f"is not what the output names: {ran}{_why(evidence, delegate)}",
    }[use]
    accept = "Accept it with --option delegate_partial=allow, or choose"
    choose = accept if use == "partial" else "Choose"
    raise ProfilingError(
        f"the {delegate} delegate {happened} ({name}). {choose} another --delegate: "
        f"{', '.join(DELEGATE_FLAGS)}."
    )


def _check_none(evidence: Evidence, name: str) -> None:
    ran = evidence.names()
    replaced = evidence.placement is None or evidence.placement.replaced
    unknown = _unknown(evidence, DELEGATE_FLAGS["none"], "")
    if not unknown and (not ran or not replaced):
        return
    flag = f"; the tool does not know {DELEGATE_FLAGS['none'][0]}" if unknown else ""
    raise ProfilingError(
        f"--delegate none asks for TFLite's own kernels, and the output of {name} names "
        f"{ran or 'no delegate'}{flag}. Choose what ran, as --delegate xnnpack, or a build of the "
        "tool that can leave it out."
    )


def _why(evidence: Evidence, asked: str) -> str:
    for line in evidence.refusals:
        if (match := NOT_LOADED.search(line)) and match[1].lower() == asked:
            return f"; it says: {line}"
    return ""


def _reason(evidence: Evidence, asked: str) -> str:
    for line in evidence.refusals:
        if _refuses(line, asked):
            return line
    if evidence.unknown_flags:
        return f"the tool does not know {', '.join(evidence.unknown_flags)[:200]}"
    return "no reason given"


def delegate_flags(
    delegate: str, library: str | None = None, library_options: str | None = None
) -> tuple[str, ...]:
    """The tool's flags for a delegate.

    Args:
        delegate: a key of `DELEGATE_FLAGS`.
        library: path on the device of an external delegate, or of an NPU's dispatch library.
        library_options: an external delegate's options, as ``key:value;key:value``.

    Raises:
        ProfilingError: no such delegate (the nearest is named), or its library is missing.
    """
    if delegate not in DELEGATE_FLAGS:
        raise ProfilingError(
            f"--delegate must be one of {', '.join(DELEGATE_FLAGS)}: received "
            f"'{delegate[:60]}'.{did_you_mean(delegate, DELEGATE_FLAGS)}"
        )
    flags = list(DELEGATE_FLAGS[delegate])
    if delegate == "external":
        if not library:
            raise ProfilingError(
                "--delegate external needs the delegate's library on the device: give "
                "--option delegate_library=PATH."
            )
        flags.append(f"--external_delegate_path={library}")
        if library_options:
            flags.append(f"--external_delegate_options={library_options}")
    elif library:
        if delegate != "npu":
            raise ProfilingError(
                "--option delegate_library belongs to --delegate external or npu: received "
                f"--delegate {delegate}."
            )
        flags.append(f"--dispatch_library_path={library}")
    return tuple(flags)
