"""What this machine grants is the same for the daemon, for `brain route` and for `brain request`."""

from brain_daemon.model.task import Permissions
from brain_daemon.service.granting import routing_policy


def test_full_is_granted_to_the_interfaces_that_the_persons_own_settings_name(brain, monkeypatch):
    """In any spelling; what brain.toml says of it counts for nothing."""
    brain.write("brain.toml", 'full_permissions = ["codex"]\n')
    monkeypatch.setenv("BRAIN_FULL_PERMISSIONS", "Claude Code")
    opened = brain.open()
    policy = routing_policy(opened.config)
    opened.close()
    assert policy.grants(Permissions.FULL, "claude_code")
    assert not policy.grants(Permissions.FULL, "codex")
    assert policy.grants(Permissions.WRITE, "codex")
