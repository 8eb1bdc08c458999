-- What the accounts of this user have used, in all brains: one row for each time an attempt was sent, and what the
-- clients have said of their own quotas. A row is reserved before anything is sent, booked when the attempt has ended,
-- lapsed when nobody has ended it for long. Dollars are whole billionths, rounded up.
--
-- `at` is when the row counts; while the clock stands before `at`, `seen_at` does: the earliest time of day at which the
-- row was known. The table `moments` stands in accounts.py.

create table entries (
    account    text not null,
    attempt_id text not null,
    part       integer not null,
    brain      text not null,
    state      text not null check (state in ('reserved', 'lapsed', 'booked')),
    at         real not null,
    seen_at    real not null,
    messages   integer not null check (messages >= 0),
    tokens     integer not null check (tokens >= 0),
    usd_nano   integer not null check (usd_nano >= 0),
    unpriced   integer not null default 0,
    interface  text,
    task_id    text,
    chain_id   text,
    task_type  text,
    primary key (account, attempt_id, part)
) strict;

create index entries_by_account on entries (account, at);
create index entries_by_time on entries (at);
create index entries_reserved on entries (account) where state = 'reserved';

create table reports (
    account     text not null,
    name        text not null,
    at          real not null,
    utilisation real,
    used        text,
    bound       text,
    resets_at   real,
    primary key (account, name)
) strict;
