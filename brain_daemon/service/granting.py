"""What this machine's settings let any task have, for whoever asks policy/routing.py."""

from brain_daemon.model.ids import normal_name
from brain_daemon.model.task import Permissions
from brain_daemon.policy.eligibility import RoutingPolicy
from brain_daemon.service.config import Config


def routing_policy(config: Config) -> RoutingPolicy:
    """The bounds of the daemon's own routing, and of every explanation of it."""
    return RoutingPolicy(
        local_only=config.local_only,
        never=config.never,
        granted=Permissions(config.permissions),
        full_for=frozenset(map(normal_name, config.full_permissions)),
    )
