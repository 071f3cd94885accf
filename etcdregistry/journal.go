package etcdregistry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// logEvery bounds how often trouble that lasts is logged.
const logEvery = 30 * time.Second

// journal logs the changes of state. It gathers those of one turn of the loop: when a
// hundred keys lose their lease together, that is one line.
type journal struct {
	logger *slog.Logger
	lines  []line
}

type line struct {
	state    state
	cause    string
	key      string // the first one
	revision int64  // of its last put
	others   int
}

// become notes a new state. A state that lasts is logged again at most every
// logEvery, and only with a cause.
func (j *journal) become(k *key, next state, cause string) {
	if next == k.tally.stateNow() && (cause == "" || time.Since(k.logged) < logEvery) {
		return
	}
	k.logged = time.Now()
	k.tally.become(next)
	for i := range j.lines {
		if j.lines[i].state == next && j.lines[i].cause == cause {
			j.lines[i].others++
			return
		}
	}
	j.lines = append(j.lines, line{state: next, cause: cause, key: k.name, revision: k.revision})
}

// flush writes what was gathered.
func (j *journal) flush(id clientv3.LeaseID) {
	for _, l := range j.lines {
		level, fields := slog.LevelInfo, []slog.Attr{
			slog.String("state", l.state.String()), slog.String("key", l.key), slog.Int64("revision", l.revision),
		}
		if l.others > 0 {
			fields = append(fields, slog.Int("others", l.others))
		}
		if id != 0 {
			fields = append(fields, slog.String("lease", fmt.Sprintf("%016x", int64(id))))
		}
		if l.cause != "" {
			level, fields = slog.LevelWarn, append(fields, slog.String("cause", l.cause))
		}
		j.logger.LogAttrs(context.Background(), level, "etcd registration", fields...)
	}
	j.lines = j.lines[:0]
}
