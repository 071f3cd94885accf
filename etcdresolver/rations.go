package etcdresolver

import "time"

const (
	// lineInterval is for how long log lines of one kind count.
	lineInterval = time.Minute
	// manyLines is how many there may be aloud meanwhile of a kind that whoever writes to
	// etcd can cause: enough for most mistakes, and too few to fill a disk.
	manyLines = 100
)

// rations counts log lines by kind, of which there are few.
type rations map[string]ration

type ration struct {
	since time.Time
	lines int
}

// take returns how many lines of a kind there were lately, this one included.
func (r rations) take(kind string) int {
	lately := r[kind]
	if now := time.Now(); now.Sub(lately.since) >= lineInterval {
		lately = ration{since: now}
	}
	lately.lines++
	r[kind] = lately
	return lately.lines
}
