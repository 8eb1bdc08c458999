-- Requests and tokens a minute, for all brains of this user: what is left of each rate, who waits for it, what was granted.
--
-- `at` and `until` are seconds of the machine's monotonic clock, which all processes share and which begins anew with each boot:
-- an `at` in the future is of an earlier boot, and no time is taken to have passed since. Levels are what is left, below zero in debt;
-- null is no limit. Dollars are whole billionths, null where nobody knows the price.

create table buckets (
    key      text primary key,
    requests real,
    tokens   real,
    at       real not null
) strict;

create table turns (
    number   integer primary key autoincrement,
    key      text not null,
    who      text not null,
    requests integer not null,
    tokens   integer not null,
    until    real not null,
    unique (key, who)
) strict;

create table grants (
    request_id text primary key,
    key        text not null,
    brain      text not null,
    task_id    text,
    attempt_id text,
    interface  text not null,
    requests   integer not null,
    tokens     integer not null,
    usd_nano   integer,
    granted_at real not null
) strict;

create index grants_by_attempt on grants (brain, attempt_id);

create table tallies (
    key      text not null,
    day      text not null,
    brain    text not null,
    task_id  text not null,
    requests integer not null,
    tokens   integer not null,
    denials  integer not null,
    primary key (key, day, brain, task_id)
) strict;
