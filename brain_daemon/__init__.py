"""brain-daemon: a filesystem queue of markdown tasks, routed to the AI that can do them for the least money."""

__version__ = "0.1.0"
