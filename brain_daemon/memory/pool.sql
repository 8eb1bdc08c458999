-- The index of the pool: a cache that is thrown away at any doubt and built anew from the text. `chunks.id` is never used
-- twice in one epoch, so that whoever holds the id of a chunk (a vector index) holds that text or nothing.

create table meta (
    key   text primary key,
    value text not null
) strict;

create table texts (
    path        text primary key,
    id          text not null collate nocase,
    kind        text not null,
    title       text not null,
    signature   text not null,
    sha256      text not null,
    modified_at real not null
) strict;

create index texts_by_id on texts (id);

create table chunks (
    id        integer primary key autoincrement,
    path      text not null,
    line      integer not null,
    last_line integer not null,
    heading   text not null
) strict;

create index chunks_by_path on chunks (path);

create virtual table words using fts5 (about, body, tokenize = 'porter unicode61 remove_diacritics 2');

-- A chunk has a vector for each of its sentences, or few together: `id` is 64 times the chunk's, and their number.
create table vectors (
    id     integer primary key,
    chunk  integer not null,
    vector blob not null
) strict;

create index vectors_by_chunk on vectors (chunk);
