"""What `brain doctor` says of the search by meaning: which embedding is in use and why, whether Chroma can be used, what mends it.

Processes of their own try what may crash; nothing is fetched.
"""

from collections.abc import Iterator, Mapping

from brain_daemon.memory.vectors import EXACT, Told, chroma_fault, default_store, missing_packages
from brain_daemon.model.cleaning import clean_line
from brain_daemon.service.brain import Brain
from brain_daemon.service.machine import Finding, Level
from brain_daemon.service.remembering import embedding_in_use

_AREA = "memory"
_INSTALL = "`pip install 'brain-daemon[memory]'`"
_REPLACED = "cannot be had"


def findings(brain: Brain) -> Iterator[Finding]:
    """The embedding that a search has here, and what is wrong with it."""
    missing = missing_packages()
    if missing:
        what = f"`brain memory` searches by words alone: {', '.join(missing)} not installed."
        yield Finding(Level.OK, _AREA, what, f"{_INSTALL} adds the search by meaning.")
        return
    told = embedding_in_use(brain)
    if told.embedding is None:
        why = told.fault or (
            told.why if told.why != Told().why else "the process that makes vectors was not ready in time"
        )
        fix = '`memory_embedding = "local"` needs nothing but the extra `memory`; docs/memory.md has the others.'
        yield Finding(Level.WARN, _AREA, f"`brain memory` searches by words alone now: {why}.", fix)
    elif _REPLACED in told.why:
        fix = "Mend that, or set `memory_embedding` to what is used now (docs/memory.md)."
        yield Finding(
            Level.WARN, _AREA, f"vectors are of {told.embedding}, not of what was asked for: {told.why}.", fix
        )
    else:
        yield Finding(Level.OK, _AREA, f"it searches by words and by vectors of {told.embedding}: {told.why}.")
    yield from chroma(brain.config.environment)


def chroma(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether Chroma is here and can be loaded; a process of its own tries."""
    if default_store() != "chroma":
        what = f"chromadb is not installed: above {EXACT:,} vectors (some 20,000 notes) a search takes longer."
        yield Finding(Level.OK, _AREA, what, f"{_INSTALL} brings it.")
        return
    fault = chroma_fault(environment)
    if fault:
        what = f"chromadb cannot be used: {clean_line(fault.rstrip('.'), 300)}. Every vector is gone through by hand instead."
        fix = "`pip install --force-reinstall chromadb`, or `pip uninstall chromadb`: search works without it."
        yield Finding(Level.WARN, _AREA, what, fix)
