"""What a file tells by itself: its operators, its scales, and whether the runtime takes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from core.engines import LiteRTEngine
from core.errors import UserError
from core.export.verification import Verification
from core.model_card import ModelCard
from core.tflite.graph import Operator, operators
from core.tflite.inspect import float_operators, foreign_operators, requantisation, xnnpack_share
from core.tflite.layer_names import layer_of

SHOWN = 3  # operators of a list


def check_operators(result: Verification, content: bytes, document: Mapping) -> None:
    """Look for operators that plain LiteRT lacks, that compute in float, and fatal scales.

    Args:
        result: Gets the checks.
        content: The file.
        document: Its own account of its export.
    """
    foreign = foreign_operators(content)
    named = ", ".join(sorted({operator.name for operator in foreign}))
    value = named or f"{len(operators(content))} builtin"
    if not result.add("builtin operators only", value, "all", not foreign):
        kind = "TensorFlow's own operators (Flex)" if foreign[0].flex else "custom operators"
        result.blame(
            f"most likely the file was converted elsewhere, with {kind} allowed: {named}"
            f"{_where(foreign)}; plain LiteRT does not have them: export the run with Gossamer, or "
            "replace the layers that use them"
        )
    if result.precision == "int8":
        _check_float(result, content, document)
    entries = requantisation(content)
    if entries:
        fatal = [entry for entry in entries if entry.fatal]
        shown = "; ".join(map(str, fatal[:SHOWN])) or f"{len(entries)} ratios"
        if not result.add("scale ratios XNNPACK computes", shown, "all", not fatal):
            result.blame(
                f"most likely a range or a kernel's scales collapsed: {fatal[0]}; export the run "
                "again with its own calibration (--calibrator own), which keeps ranges apart"
            )


def _check_float(result: Verification, content: bytes, document: Mapping) -> None:
    floating = float_operators(content, document.get("in_float") or ())
    named = ", ".join(f"{o.name} {o.outputs[0].name}" for o in floating[:SHOWN])
    choices = (document.get("compression") or {}).get("choices") or {}
    if "float" in (choices.get("exceptions") or {}).values():
        result.add("operators left in float, as chosen", named or 0)
    elif not result.add("operators left in float", named or 0, "0", not floating):
        kinds = ", ".join(sorted({operator.name for operator in floating}))
        result.blame(
            f"most likely these operators were left out of the quantization, or put back into "
            f"float afterwards: {kinds}{_where(floating)}; export the run again with --precision "
            "int8"
        )


def _where(listed: list[Operator]) -> str:
    layers = dict.fromkeys(name for o in listed if (name := layer_of(o)))
    return f" in {', '.join(repr(name) for name in list(layers)[:SHOWN])}" if layers else ""


def check_loading(result: Verification, path: Path, card: ModelCard) -> dict[str, LiteRTEngine]:
    """Return the engines that load a file, by "file" and "file_reference"; the first must."""
    engines: dict[str, LiteRTEngine] = {}
    for key, delegate, label in (
        ("file", True, "loads in the default delegate (XNNPACK)"),
        ("file_reference", False, "loads with the reference kernels"),
    ):
        try:
            engines[key] = LiteRTEngine(path, card, delegate=delegate)
            result.add(label, "yes", "yes", True)
        except UserError as error:
            result.add(label, str(error), "yes", False)
    if "file" in engines:
        taken, total = xnnpack_share(path)
        result.add("operators XNNPACK took", f"{taken} of {total}")
    elif not result.causes:
        result.blame(
            "most likely the file was changed, or made for another runtime: LiteRT refuses it; "
            "export the run again"
        )
    return engines
