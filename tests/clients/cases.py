"""What a server may say instead of an answer, and the runs that meet it.

Behind the clients stands `rescue`, a tool that always answers: a failure that another interface may take over ends there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.clients.programs import CLIENTS
from tests.clients.rig import Rig, Told, left_behind
from tests.clients.servers import Aimock
from tests.clients.stub import Stub

RESCUE = "---\nname: rescue\ntype: tool\ninvoke:\n  kind: tool\n  function: echo\n---\n# Rescue\n"
PLANS = ("claude_code", "codex", "gemini_cli")  # aimock has no headers of a plan and no details of a daily quota
_QUOTA = "You exceeded your current quota, please check your plan and billing details."


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One answer of a server to several clients, and the kind of failure it is; the stub gives the one without a message."""

    name: str
    kind: str
    clients: tuple[str, ...] = tuple(CLIENTS)
    status: int = 429
    message: str = ""
    type: str = ""
    code: str = ""


# 500 first: opencode tries for more than a minute then, and no setting of its own shortens that.
REFUSALS = (
    Refusal(name="500", kind="transient", status=500, message="The server had an error.", type="server_error"),
    Refusal(name="401", kind="auth", status=401, message="Incorrect API key.", type="authentication_error", code="invalid_api_key"),
    Refusal(name="429", kind="rate_limit", message="Too many requests.", type="rate_limit_error", code="rate_limit_exceeded"),
    Refusal(name="plan", kind="quota", clients=PLANS),
    Refusal(
        name="quota", kind="quota", message=_QUOTA, type="insufficient_quota", code="insufficient_quota",
        clients=tuple(name for name in CLIENTS if name not in PLANS),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Met:
    """The tasks afterwards, by client, and the processes that were left."""

    told: Mapping[str, Told]
    left: list[str]


def meet(refusal: Refusal, folder: Path, programs: Path, mock: Aimock, stubbed: Stub) -> Met:
    """A task for each client, which prefers it and lets `rescue` do it instead, in a brain of their own."""
    url = mock.url if refusal.message else stubbed.url("quota")
    rig = Rig(folder / refusal.name, programs, url)
    (rig.root / "tools" / "interfaces" / "rescue.md").write_text(RESCUE)
    for name in refusal.clients:
        marker = f"no-{refusal.name}-{name}"
        if refusal.message:
            mock.refuse(marker, refusal.status, refusal.message, type=refusal.type, code=refusal.code)
        others = ", ".join(one for one in (*CLIENTS, "librarian") if one != name)
        rig.drop(name, "", f"# No\n\n{marker}", preferred_interface=name, never=f"[{others}]")
    rig.run_once()
    return Met({name: rig.task(name) for name in refusal.clients}, left_behind(rig.home))
