package etcdregistry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// logEvery bounds how often trouble of a key is logged, if it lasts or comes and goes.
const logEvery = 30 * time.Second

// journal logs the changes of state. It gathers those of a moment: when a hundred keys
// lose their lease together, that is one line.
type journal struct {
	logger *slog.Logger
	lease  clientv3.LeaseID // that of the keys, now
	lines  []line
	since  time.Time // of the first line
	batch  int       // counts the flushes
}

// logged is what the log knows of a key.
type logged struct {
	state   state
	batch   int                          // in which that was said
	trouble [reregistering + 1]time.Time // when it was in which state last, with a cause
}

type line struct {
	state    state
	cause    string
	lease    clientv3.LeaseID
	key      string // the first one
	revision int64  // of its last put
	others   int
}

// become notes a new state. With a cause it is logged at most every logEvery, and again
// if it lasts; without one, unless the log knows it already.
func (j *journal) become(k *key, next state, cause string) {
	k.tally.become(next)
	if cause == "" && next == k.logged.state || cause != "" && time.Since(k.logged.trouble[next]) < logEvery {
		return
	}
	if k.logged.batch == j.batch { // the next line comes after the one before
		j.flush()
	}
	k.logged.state, k.logged.batch = next, j.batch
	if cause != "" {
		k.logged.trouble[next] = time.Now()
	}
	for i := range j.lines {
		if l := &j.lines[i]; l.state == next && l.cause == cause && l.lease == j.lease {
			l.others++
			return
		}
	}
	if len(j.lines) == 0 {
		j.since = time.Now()
	}
	j.lines = append(j.lines, line{state: next, cause: cause, lease: j.lease, key: k.name, revision: k.revision})
}

// due returns until when the lines may wait for more.
func (j *journal) due() time.Time {
	if len(j.lines) == 0 {
		return time.Time{}
	}
	return j.since.Add(logDelay)
}

// flush writes what was gathered.
func (j *journal) flush() {
	for _, l := range j.lines {
		level, fields := slog.LevelInfo, []slog.Attr{
			slog.String("state", l.state.String()), slog.String("key", l.key), slog.Int64("revision", l.revision),
		}
		if l.others > 0 {
			fields = append(fields, slog.Int("others", l.others))
		}
		if l.lease != 0 {
			fields = append(fields, slog.String("lease", fmt.Sprintf("%016x", int64(l.lease))))
		}
		if l.cause != "" {
			level, fields = slog.LevelWarn, append(fields, slog.String("cause", l.cause))
		}
		j.logger.LogAttrs(context.Background(), level, "etcd registration", fields...)
	}
	j.lines = j.lines[:0]
	j.batch++
}
