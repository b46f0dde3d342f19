"""The loaded networks of annotators: reused by the next run, freed with the nodes that used them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .. import host


class NetworkOwner:
    """Keeps the networks of one node class alive.

    ComfyUI instantiates a node's class when the node first runs, and drops the instance when the node leaves the
    graph. Every instance holds the owner of its class, so networks live as long as the graph has a node of that class.

    Attributes:
        networks: The model patcher that each node used last, by the node's id in the graph.
    """

    def __init__(self) -> None:
        self.networks: dict[str, Any] = {}


@dataclass(frozen=True)
class Networks:
    """Loaded networks, by weak reference: this table keeps nothing alive.

    Attributes:
        loaded: Model patchers, by what they were built from.
        owners: Owners, by node class.
    """

    loaded: weakref.WeakValueDictionary[Hashable, Any] = field(default_factory=weakref.WeakValueDictionary)
    owners: weakref.WeakValueDictionary[str, NetworkOwner] = field(default_factory=weakref.WeakValueDictionary)

    def owner(self, node_class: str) -> NetworkOwner:
        """Return the owner for a node class. Its instances must hold the result."""
        return self.owners.setdefault(node_class, NetworkOwner())

    def get(self, node_class: str, key: Hashable, build: Callable[[], nn.Module]) -> Any:
        """Return a loaded network, or build it.

        Args:
            node_class: Class of the node that asks.
            key: Identifies the network's file and type; equal keys share one network.
            build: Builds the network when none is loaded.

        Returns:
            The model patcher. ComfyUI may offload it; its file is not read again.
        """
        owner, node = self.owners.get(node_class), host.running_node()
        patcher = self.loaded.get(key)
        if patcher is None:
            if owner is not None:
                owner.networks.pop(node, None)  # free the node's previous network before building the next
            patcher = self.loaded[key] = host.wrap_network(build())
        if owner is not None:
            owner.networks[node] = patcher
        return patcher


LOADED_NETWORKS = Networks()
