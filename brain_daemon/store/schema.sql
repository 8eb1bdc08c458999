-- The journal of one brain: what is in flight, and this host's approvals and questions. `attempts`, `approvals`,
-- `questions` and `meta` are the record; `outcomes`, `tasks` and `holds` are caches (`brain reindex` rebuilds the first
-- two from the text in git, the daemon the third).

create table meta (
    key   text primary key,
    value text not null
) strict;

create table attempts (
    attempt_id  text primary key,
    task_id     text not null collate nocase,
    number      integer not null,
    state       text not null check (state in ('claimed', 'starting', 'ended', 'recorded', 'committed', 'released')),
    name        text not null,
    sha256      text not null,
    spec        blob,
    claimant    text not null,
    claimed_at  real not null,
    lease_until real,
    origin      text,
    interface   text,
    model       text,
    tier        text,
    routing     text,
    argv        text,
    mode        text not null,
    started_at  real,
    ended       text,
    decision    text check (decision in ('finish', 'again', 'ask', 'park')),
    status      text,
    reason      text,
    message     text not null default '',
    resumes     text,
    resume_at   real,
    answer      text,
    lineage     text not null default '{}',
    commit_sha  text
) strict;

create index attempts_by_task on attempts (task_id, number);
create index attempts_open on attempts (state) where state in ('claimed', 'starting', 'ended', 'recorded');
create index attempts_unsettled on attempts (task_id) where decision in ('again', 'ask', 'park');

create table approvals (
    sha256      text primary key,
    name        text not null,
    approved_at real not null,
    how         text not null
) strict;

create table questions (
    id       text primary key,
    document text not null,
    asked_at real not null
) strict;

create table tasks (
    task_id     text primary key collate nocase,
    status      text not null,
    reason      text,
    sha256      text,
    path        text not null,
    finished_at real
) strict;

create table outcomes (
    timestamp           text not null,
    task_id             text not null,
    attempt_id          text primary key,
    attempt             integer not null,
    status              text not null,
    reason              text,
    interface           text,
    account             text,
    tier                text,
    model               text,
    task_type           text,
    mode                text,
    chain_id            text,
    parent_id           text,
    session_id          text,
    input_tokens        integer,
    cached_input_tokens integer,
    output_tokens       integer,
    cost_usd            text,
    cost_basis          text not null,
    duration_seconds    real,
    overhead_seconds    real
) strict;

create index outcomes_by_task on outcomes (task_id);
create index outcomes_by_day on outcomes (substr(timestamp, 1, 10), interface);

-- For people's own SQL: one row an attempt, the columns of logs/costs/DAY.csv; cost_usd is NULL where the cost is unknown.
create view cost_records as
select timestamp, task_id, attempt_id, attempt, status, reason, interface, account, tier, model, task_type, mode,
       chain_id, parent_id, session_id, input_tokens, cached_input_tokens, output_tokens,
       cast(cost_usd as real) as cost_usd, cost_basis, duration_seconds, overhead_seconds
from outcomes;

create table holds (
    task_id text primary key,
    name    text not null,
    reason  text not null,
    until   real
) strict;
