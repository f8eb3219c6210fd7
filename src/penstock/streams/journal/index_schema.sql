-- The index of the journal. Everything here can be made again from the segments.

CREATE TABLE IF NOT EXISTS stream (
    id      TEXT PRIMARY KEY,
    owner   TEXT NOT NULL,
    dialect TEXT NOT NULL,
    binding TEXT NOT NULL,
    model   TEXT NOT NULL,
    state   TEXT NOT NULL,
    created INTEGER NOT NULL,
    ended   INTEGER,
    events  INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    began   INTEGER,
    writer  TEXT NOT NULL,
    erasing INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS stream_created ON stream (created);
CREATE INDEX IF NOT EXISTS stream_owner ON stream (owner, created);

-- Where the records of a stream lie: one row per segment, `records` is the array of `Places`.
CREATE TABLE IF NOT EXISTS place (
    stream  TEXT NOT NULL,
    segment TEXT NOT NULL,
    records BLOB NOT NULL,
    PRIMARY KEY (stream, segment)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS place_segment ON place (segment);

-- `indexed`: everything before this offset is here. `sealed`: nothing will ever be appended and
-- no stream in it is open. `last`: time of the last record, in ms since the epoch.
CREATE TABLE IF NOT EXISTS segment (
    name    TEXT PRIMARY KEY,
    indexed INTEGER NOT NULL,
    sealed  INTEGER NOT NULL,
    last    INTEGER NOT NULL
) WITHOUT ROWID;

-- Which stream names which file of `blobs/`. `put`: when, in ms since the epoch.
CREATE TABLE IF NOT EXISTS blob (
    sha256 TEXT NOT NULL,
    stream TEXT NOT NULL,
    size   INTEGER NOT NULL,
    put    INTEGER NOT NULL,
    PRIMARY KEY (sha256, stream)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blob_stream ON blob (stream);
