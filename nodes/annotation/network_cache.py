"""The annotators' networks that are loaded: found again by the next run, and gone with the nodes that used them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .. import host


class NetworkOwner:
    """Keeps the networks of one kind of node alive.

    ComfyUI makes an instance of a node's class when the node first runs, and drops it when the node leaves the graph.
    The instances hold their keeper, so networks live as long as the graph has a node that may use them again.
    """

    def __init__(self) -> None:
        self.networks: dict[str, Any] = {}


@dataclass(frozen=True)
class Networks:
    """What is loaded: weak references, so that nothing lives because it stands here.

    Attributes:
        loaded: Model patchers by what they were made of.
        keepers: What keeps them, by kind of node.
    """

    loaded: weakref.WeakValueDictionary[Hashable, Any] = field(default_factory=weakref.WeakValueDictionary)
    keepers: weakref.WeakValueDictionary[str, NetworkOwner] = field(default_factory=weakref.WeakValueDictionary)

    def keeper(self, kind: str) -> NetworkOwner:
        """Return the keeper of a kind of node, for its instances to hold."""
        return self.keepers.setdefault(kind, NetworkOwner())

    def get(self, kind: str, key: Hashable, build: Callable[[], nn.Module]) -> Any:
        """Find a network, or build it.

        Args:
            kind: The kind of node that asks.
            key: What the network is made of: the same key means the same network.
            build: Makes it.

        Returns:
            Its model patcher, which ComfyUI may offload, but which is not loaded from its file again.
        """
        keeper, node = self.keepers.get(kind), host.running_node()
        patcher = self.loaded.get(key)
        if patcher is None:
            if keeper is not None:
                keeper.networks.pop(node, None)  # what the node used before goes first
            patcher = self.loaded[key] = host.wrap_network(build())
        if keeper is not None:
            keeper.networks[node] = patcher
        return patcher


NETWORKS = Networks()
