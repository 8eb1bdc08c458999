"""The environment of a child: built from nothing, so that what is not named here or by the interface does not pass.

A client's key reaches every shell command its model runs, so each child gets its own key and nobody else's. What passes
always are names and folders, never secrets: where programs and homes are, the language, the time zone, and which files hold
the certificates to trust (without them TLS fails for reasons nobody can see). Proxies do not pass: their URLs hold passwords;
an interface that needs one lists it under `env`.

Failures: a source of the secret that cannot serve is a UserError before anything is started (adapters/secrets.py). Whether
there is a secret at all is the registry's question.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from brain_daemon.adapters.secrets import child_path, stored_secret
from brain_daemon.adapters.survivors import TAG
from brain_daemon.model.interface import InterfaceSpec
from brain_daemon.model.task import Permissions
from brain_daemon.store.tokens import VARIABLE

if TYPE_CHECKING:
    from brain_daemon.adapters.base import Invocation

_ALWAYS = frozenset(
    {
        "HOME", "LANG", "LANGUAGE", "LOGNAME", "SHELL", "TMPDIR", "TZ", "USER",
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
        "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE",
    }
)  # fmt: skip


def child_environment(invocation: "Invocation") -> dict[str, str]:
    """The complete environment for one attempt: its interface's, and the marks of the attempt. Raises UserError."""
    return interface_environment(invocation.interface, invocation.environment, invocation.profile) | _marks(invocation)


def interface_environment(
    interface: InterfaceSpec, parent: Mapping[str, str], profile: Permissions | None = None
) -> dict[str, str]:
    """What any program of an interface is given.

    Later wins: what passes always, the variables listed under `env` and named by `auth.env`, `set_env`, the profile's
    `set_env`, the secret that `auth` keeps elsewhere. A listed variable the daemon does not have is left out. May wait for `auth.secret_command`
    (20 s at most, once in five minutes). Raises UserError.
    """
    auth, invoke = interface.auth, interface.invoke
    passing = {*_ALWAYS, *invoke.env, auth.env}
    environment = {name: value for name, value in parent.items() if name in passing or name.startswith("LC_")}
    environment["PATH"] = child_path(parent)
    environment.update(invoke.set_env)
    settings = invoke.profile(profile.value) if profile else None
    environment.update(settings.set_env if settings else ())
    secret = stored_secret(auth, parent) if auth.env else None
    if auth.env and secret is not None:
        environment[auth.env] = secret
    return environment


def _marks(invocation: "Invocation") -> dict[str, str]:
    """What tells the child, and whoever finds it later, which attempt it belongs to."""
    marks = {
        "BRAIN_TASK_ID": invocation.task.id,
        TAG: invocation.attempt_id,
        "BRAIN_ROOT": invocation.root,
        "BRAIN_WORKSPACE": invocation.workspace,
        **invocation.marks,
    }
    return marks | ({VARIABLE: invocation.token} if invocation.token else {})
