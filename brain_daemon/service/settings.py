"""The settings there are: the single list, which docs/configuration.md is checked against."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from brain_daemon.service import setting_values as read


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of the table: how its text is read, its default and what it means."""

    name: str
    read: Callable[[Any], Any]
    default: Any
    meaning: str
    user_only: bool = False


SETTINGS: tuple[Setting, ...] = (
    Setting("enabled", read.truth, True, "false stops all starts; dropped tasks stay in pending/"),
    Setting("parallel", read.count, 8, "attempts that run at the same time, all interfaces together"),
    Setting("commit", read.truth, True, "false leaves the commits to you (as `brain run --no-commit`)"),
    Setting("timeout", read.duration, 1800.0, "longest time for one attempt where neither task nor interface says"),
    Setting(
        "inactivity",
        read.optional_duration,
        None,
        "longest silence of a command before it is ended; none for no such limit",
    ),
    Setting("grace", read.duration, 5.0, "time between the steps that end a process: interrupt, terminate, kill"),
    Setting("drain", read.duration, 60.0, "how long a stopping daemon waits for running attempts"),
    Setting("attempts", read.count, 2, "tries of a task, where the task does not say"),
    Setting("transient_retries", read.tally, 3, "further tries after a transient failure or a rate limit"),
    Setting(
        "settle", read.duration, 2.0, "quiet time after which a file still open or edited again counts as complete"
    ),
    Setting("scan", read.interval, 10.0, "time between two full looks at the folders, with or without file events"),
    Setting(
        "check_interval", read.interval, 900.0, "time between two looks at whether an interface is still logged in"
    ),
    Setting("group", read.duration, 0.2, "outcomes that end within this time are recorded together"),
    Setting("group_size", read.count, 500, "most outcomes of one group"),
    Setting("task_size", read.size, 1_000_000, "largest task file"),
    Setting("output_size", read.size, 64 << 20, "most a command may print before it is ended"),
    Setting(
        "result_size", read.size, 256 << 10, "longest result text inside the task file; longer ones go to ID.files/"
    ),
    Setting("files_size", read.size, 20 << 20, "most bytes of files collected from an attempt's out/ folder"),
    Setting("log_size", read.size, 5 << 20, "size at which the daemon's own log is rolled; one older log is kept"),
    Setting(
        "keep_output",
        read.duration,
        1_209_600.0,
        "how long the raw output of an ended attempt is kept for `brain logs`",
    ),
    Setting("reserve", read.size, 200 << 20, "free disk space below which nothing new is claimed"),
    Setting(
        "crash_pause",
        read.duration,
        300.0,
        "longest wait before work begins, where the daemon has died again and again soon after its start",
    ),
    Setting("on_no_interface", read.one_of("hold", "fail"), "hold", "what happens to a task that nobody can do"),
    Setting(
        "on_limit", read.one_of("wait", "fallback", "ask"), "wait", "what a task does at a limit where it does not say"
    ),
    Setting("quota_question_at", read.share, 0.9, "share of a quota from which you are asked before the next task"),
    Setting(
        "quota_silence",
        read.optional_duration,
        None,
        "how long that question waits for you before `quota_default` answers it; none for as long as it takes",
    ),
    Setting(
        "quota_default",
        read.one_of("wait", "go_on", "paid"),
        "wait",
        "the answer after that time, where you set one",
    ),
    Setting(
        "quota_reserve",
        read.part,
        0.2,
        "share of each quota of a free or subscription interface that low-priority tasks leave to you in your hours",
    ),
    Setting("quota_reserve_away", read.part, 0.0, "the same outside your hours"),
    Setting(
        "quota_reserve_hours", read.hours, "8-22", "your hours, local time of this machine or of a zone named behind"
    ),
    Setting(
        "harvest",
        read.truth,
        True,
        "draw low-priority tasks forward where a free or subscription window is about to end with quota left",
    ),
    Setting("harvest_before", read.duration, 3600.0, "how long before its end a window is harvested"),
    Setting(
        "budgets",
        read.budgets,
        (),
        "what you set aside, warned about from 80 % on: tables of scope, name, usd, tokens, hard",
    ),
    Setting(
        "unknown_price",
        read.one_of("ask", "allow", "refuse"),
        "ask",
        "what happens under a budget in dollars where nobody knows the price",
    ),
    Setting(
        "estimate_tokens", read.count, 10_000, "size of a prompt from which it is said before a start what it may cost"
    ),
    Setting(
        "client_memory",
        read.size,
        650_000_000,
        "memory that one command-line client of a model may need; no more are started than fit",
    ),
    Setting(
        "learn",
        read.one_of("off", "order", "reorder"),
        "order",
        "what history may do: nothing, order what routing.md leaves open, also go before it where they disagree",
    ),
    Setting(
        "prefer",
        read.one_of("cost", "quality", "speed"),
        "cost",
        "what counts besides success among equals, where the task does not say",
    ),
    Setting(
        "alerts",
        read.conditions,
        (),
        "conditions on today's report that are said in prompts/pending.md while they hold",
    ),
    Setting(
        "tasks_from_git",
        read.one_of("run", "hold"),
        "run",
        "whether tasks that came by git run or wait for `brain release`",
    ),
    Setting("never", read.texts, (), "interfaces that may not be used in this brain"),
    Setting("local_only", read.truth, False, "only interfaces marked `local: true` may be used in this brain"),
    Setting(
        "permissions",
        read.one_of("read", "write", "full"),
        "write",
        "most that a task may be granted on this machine",
        True,
    ),
    Setting(
        "full_permissions", read.texts, (), "interfaces that a task may use with full permissions on this machine", True
    ),
    Setting("secret_files", read.texts, (), "files whose text is a secret: it is kept out of everything written", True),
    Setting(
        "request_mode",
        read.one_of("auto", "directive", "orchestrated"),
        "auto",
        "how `brain request` and `brain hook` meet a request; auto decides from the moment",
    ),
    Setting("session_gap", read.duration, 1800.0, "quiet time after which a request begins a new session"),
    Setting("keep_sessions", read.duration, 2_592_000.0, "how long a session is kept after its last request"),
    Setting(
        "memory_embedding",
        read.embedding,
        "auto",
        "what makes vectors of texts: auto, words, local, chroma, or the address of an endpoint",
        True,
    ),
    Setting("memory_model", read.word, "", "the model that an endpoint in `memory_embedding` is asked for", True),
    Setting("memory_key", read.word, "", "the variable that holds the key of that endpoint", True),
    Setting(
        "memory_tokens",
        read.tally,
        1500,
        "most tokens of what the pool finds in one prompt; 0 looks for nothing and keeps no index",
    ),
    Setting("handoff_tokens", read.tally, 1000, "most tokens of the summary of one handoff in a prompt"),
    Setting("spawn_depth", read.tally, 2, "generations of tasks that tasks may spawn; 0 lets none spawn any"),
    Setting("spawn_children", read.tally, 20, "most tasks that one task may spawn"),
)
