"""Which of the things in a checkpoint are the network's tensors, and what they are called.

People save a bare state dict, a state dict beside an optimiser, or the whole module. The rules:

* Known wrappers are opened in the order of `WRAPPERS`, the first that holds arrays wins; so
  `state_dict` comes before all others and averaged `params_ema` before `params`.
* Otherwise arrays directly in the dictionary are the state. Where there are none, the one
  container that holds arrays is opened; several (a generator and a discriminator) are joined under
  their own names. The optimiser's and scheduler's arrays never count.
* Of a list the first item that holds arrays is taken; (name, array) pairs are a state.
* A pickled module is walked as PyTorch walks it: parameters, persistent buffers, children.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from core.checkpoints.pickled_values import Leaf, Malformed, StandIn

WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "params_ema",
    "params",
    "model",
    "net",
    "network_weights",
    "ema",
)
_NOT_THE_NETWORK = re.compile(
    r"optim|sched|scaler|rng|amp$|hparams|hyper_parameters|loops|callbacks"
)
_MOST_VISITS = 1_000_000
_MOST_DEPTH = 100

T = TypeVar("T")


def find_state(content: Any) -> dict[str, Leaf]:
    """Return the network's arrays by name, in the file's order; empty when there are none.

    Args:
        content: What a pickle held: dictionaries, lists, stand-ins and leaves.

    Raises:
        Malformed: When the content is nested without end.
    """
    return _Walk().find(content)


class _Walk:
    """One look through a checkpoint's content; it always ends.

    Containers are opened once (saved settings may refer to themselves); modules, which a network
    may use under several names, are bounded by their number.
    """

    def __init__(self):
        self._visits = 0
        self._opened: dict[int, dict[str, Leaf]] = {}

    def _step(self, depth: int, count: int = 1) -> int:
        self._visits += count
        if self._visits > _MOST_VISITS or depth > _MOST_DEPTH:
            raise Malformed("its content is nested without end")
        return depth + 1

    def find(self, content: Any, depth: int = 0) -> dict[str, Leaf]:
        if not isinstance(content, StandIn | dict | list | tuple):
            return {}
        if id(content) not in self._opened:
            self._opened[id(content)] = {}
            self._opened[id(content)] = self._open(content, self._step(depth))
        return self._opened[id(content)]

    def _open(self, content: Any, depth: int) -> dict[str, Leaf]:
        if isinstance(content, StandIn):
            if _is_module(content):
                return dict(self._module(content, "", depth))
            content = {**content.attributes, **content.entries}
        if isinstance(content, list | tuple):
            if content and all(_is_pair(item) for item in content):
                content = dict(content)
            else:
                return next(filter(None, (self.find(item, depth) for item in content)), {})
        for key in WRAPPERS:
            if not _readable(content.get(key)) and (found := self.find(content.get(key), depth)):
                return found
        direct = {str(key): value for key, value in content.items() if _readable(value)}
        if direct:
            return direct
        inside = {
            str(key): found
            for key, value in content.items()
            if not _NOT_THE_NETWORK.search(str(key)) and (found := self.find(value, depth))
        }
        if len(inside) == 1:
            return next(iter(inside.values()))
        self._step(depth, sum(map(len, inside.values())))
        return {
            f"{key}.{name}": leaf for key, found in inside.items() for name, leaf in found.items()
        }

    def _module(self, module: StandIn, prefix: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        depth = self._step(depth)
        state = module.attributes
        if not _is_module(module):
            return
        if module.kind.startswith("__torch__."):  # TorchScript keeps children as attributes
            own, children = state, state
        else:
            passing = state.get("_non_persistent_buffers_set") or ()
            buffers = {k: v for k, v in _dict(state, "_buffers").items() if k not in passing}
            own, children = {**_dict(state, "_parameters"), **buffers}, _dict(state, "_modules")
        for name, value in own.items():
            self._step(depth)
            if _readable(value):
                yield f"{prefix}{name}", value
        for name, value in children.items():
            if isinstance(value, StandIn):
                yield from self._module(value, f"{prefix}{name}.", depth)


def _dict(state: dict, name: str) -> dict:
    found = state.get(name)
    return found if isinstance(found, dict) else {}


def _is_module(value: StandIn) -> bool:
    return "_modules" in value.attributes or value.kind.startswith("__torch__.")


def _is_pair(item: Any) -> bool:
    return (
        isinstance(item, list | tuple)
        and len(item) == 2
        and isinstance(item[0], str)
        and _readable(item[1])
    )


def _readable(value: Any) -> bool:
    return isinstance(value, Leaf) and value.nbytes is not None


def plain_names(state: Mapping[str, T], ignored: Iterable[str] = ()) -> dict[str, T]:
    """Return the state without the prefixes that wrappers put before the published names.

    `_orig_mod.` (torch.compile) goes wherever it stands; `module.` (DataParallel, averaged models),
    `model.` and `backbone.` only where all entries carry it. The counter `n_averaged` of
    an averaged model goes with its `module.`.

    Args:
        state: Anything by name.
        ignored: Regular expressions of entries that are no parameters: they have no say in it,
            because tools leave some beside the wrapper (`total_ops` beside `module.total_ops`).
    """
    names = {re.sub(r"(^|\.)_orig_mod\.", r"\1", name): name for name in state}
    if len(names) != len(state):
        return dict(state)
    skipped = re.compile("|".join(f"(?:{pattern})" for pattern in ("n_averaged", *ignored)))
    while names:
        weights = [name for name in names if not skipped.fullmatch(name)]
        for prefix in ("module.", "model.", "backbone."):
            if weights and all(name.startswith(prefix) for name in weights):
                kept = {name: origin for name, origin in names.items() if name != "n_averaged"}
                bare = {name.removeprefix(prefix): origin for name, origin in kept.items()}
                if len(bare) < len(kept):  # an ignored entry stands with and without the prefix
                    bare = {n.removeprefix(prefix): kept[n] for n in kept if n.startswith(prefix)}
                names = bare
                break
        else:
            break
    return {name: state[origin] for name, origin in names.items()}
