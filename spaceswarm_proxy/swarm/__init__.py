"""The swarm: the policy over any network."""

from spaceswarm_proxy.swarm.discovery import Discovery, TopicStatus
from spaceswarm_proxy.swarm.duplicates import keep_new
from spaceswarm_proxy.swarm.peer_info import PeerInfo
from spaceswarm_proxy.swarm.retry import RetryTimes
from spaceswarm_proxy.swarm.roster import SwarmStats
from spaceswarm_proxy.swarm.swarm import Swarm

__all__ = ["Discovery", "PeerInfo", "RetryTimes", "Swarm", "SwarmStats", "TopicStatus", "keep_new"]
