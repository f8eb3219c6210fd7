-- name: put_stream
INSERT INTO stream (id, owner, dialect, binding, model, state, created, ended, events, bytes, began, writer)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
ON CONFLICT (id) DO UPDATE SET state = ?6, ended = ?8, events = ?9, bytes = ?10, began = ?11, writer = ?12;

-- name: put_place
INSERT OR REPLACE INTO place (stream, segment, records) VALUES (?, ?, ?);

-- name: put_segment
INSERT OR REPLACE INTO segment (name, indexed, sealed, last) VALUES (?, ?, ?, ?);

-- name: put_blob
INSERT OR IGNORE INTO blob (sha256, stream, size, put) VALUES (?, ?, ?, ?);

-- name: stream
SELECT id, owner, dialect, binding, model, state, created, ended, events, bytes, began, writer
FROM stream WHERE id = ? AND erasing = 0;

-- name: places
SELECT segment, records FROM place WHERE stream = ? ORDER BY segment;

-- name: recent
SELECT id, owner, dialect, binding, model, state, created, ended, events, bytes
FROM stream WHERE erasing = 0 ORDER BY created DESC, id DESC LIMIT ?;

-- name: recent_of
SELECT id, owner, dialect, binding, model, state, created, ended, events, bytes
FROM stream WHERE owner = ? AND erasing = 0 ORDER BY created DESC, id DESC LIMIT ?;

-- name: open_of
SELECT id FROM stream WHERE writer = ? AND state = 'live';

-- name: open_writers
SELECT DISTINCT writer FROM stream WHERE state = 'live';

-- name: states
SELECT id, state FROM stream;

-- name: erasing
SELECT id FROM stream WHERE erasing = 1;

-- name: set_erasing
UPDATE stream SET erasing = 1 WHERE id = ?;

-- name: segments
SELECT name, indexed, sealed, last FROM segment ORDER BY name;

-- name: heads_before
SELECT segment, substr(records, 1, 16) FROM place
WHERE stream IN (SELECT stream FROM place WHERE segment = ?1) AND segment < ?1;

-- name: blobs_in
SELECT DISTINCT sha256 FROM blob WHERE stream IN (SELECT stream FROM place WHERE segment = ?);

-- name: drop_streams_in
DELETE FROM stream WHERE id IN (SELECT stream FROM place WHERE segment = ?);

-- name: drop_blobs_in
DELETE FROM blob WHERE stream IN (SELECT stream FROM place WHERE segment = ?);

-- name: drop_places_in
DELETE FROM place WHERE stream IN (SELECT stream FROM place WHERE segment = ?);

-- name: drop_stream
DELETE FROM stream WHERE id = ?;

-- name: drop_places
DELETE FROM place WHERE stream = ?;

-- name: drop_segment
DELETE FROM segment WHERE name = ?;

-- name: blobs_of
SELECT sha256 FROM blob WHERE stream = ?;

-- name: drop_blobs
DELETE FROM blob WHERE stream = ?;

-- name: blob_is_named
SELECT 1 FROM blob WHERE sha256 = ? LIMIT 1;

-- name: stray_blobs
SELECT DISTINCT stream FROM blob WHERE put < ? AND stream NOT IN (SELECT id FROM stream);

-- name: blob
SELECT size FROM blob WHERE sha256 = ? AND stream = ?
AND stream NOT IN (SELECT id FROM stream WHERE erasing = 1);

-- name: blobs
SELECT DISTINCT sha256 FROM blob;

-- name: blob_bytes
SELECT COALESCE(SUM(size), 0) FROM (SELECT sha256, MAX(size) AS size FROM blob GROUP BY sha256);
