"""What the cluster tells the edge of this node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dht.ids import NodeId
    from dht.placement import Placement
    from dht.view import View
    from node.cluster.messages import NodeMessage
    from pubsub.feed import Feed


class ClusterListener(Protocol):
    """Called by `node.cluster.driver.Cluster`, always in the trio thread, never concurrently.

    Nothing here may block or await. Calling back into the cluster is fine; what
    that leads to is performed after what is being performed now.
    """

    def on_view(self, view: View, placement: Placement) -> None:
        """Both engines are on `view` now."""

    def on_deliver(self, feed: Feed, depth: int) -> None:
        """`feed` has new committed entries; they crossed `depth` links of its tree."""

    def on_reset(self, feed: Feed) -> None:
        """Readers of `feed` missed entries that nobody holds any more."""

    def on_release(self, address: str, generation: int) -> None:
        """The session moves to another edge: call `Cluster.released` at once."""

    def on_session_lost(self, address: str) -> None:
        """Another edge has had the session since: forget it, write nothing."""

    def on_message(self, sender: NodeId, message: NodeMessage) -> None:
        """Another node's edge speaks to this one."""

    def on_link_lost(self, node: NodeId) -> None:
        """What was posted to `node` and not answered will not be answered."""

    def on_batch_end(self) -> None:
        """A batch from a link (or a timer) has told the edge things: flush soon.

        Called once after the calls above, and after callbacks of requests, that
        did not come out of the edge's own call into the cluster.
        """
