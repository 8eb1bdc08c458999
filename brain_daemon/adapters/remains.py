"""What an attempt that nobody saw the end of has left in its folder: the session its client told before.

Nothing here fails: output that is gone, torn or not understood tells no session, and the attempt is then asked about.
"""

import os

from brain_daemon.adapters.reading import compile_rules
from brain_daemon.model.cleaning import clean_line
from brain_daemon.model.interface import InterfaceSpec

MAX_OUTPUT_BYTES = 64 << 20
_MAX_SESSION_CHARACTERS = 500


def session_in(spec: InterfaceSpec, folder: str) -> str | None:
    """The client session that the output in an attempt's folder names; None where it names none."""
    if spec.output.client_session is None:
        return None
    reading = compile_rules(spec.output).read(_bytes(folder, "stdout"), _bytes(folder, "stderr"), None)
    session = reading.client_session
    return None if session is None else clean_line(session, _MAX_SESSION_CHARACTERS) or None


def _bytes(folder: str, name: str) -> bytes:
    try:
        with open(os.path.join(folder, name), "rb") as handle:
            return handle.read(MAX_OUTPUT_BYTES)
    except OSError:
        return b""
