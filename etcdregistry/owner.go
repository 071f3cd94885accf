package etcdregistry

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"
)

// startedLayout is RFC 3339 in UTC with milliseconds, always of the same length.
const startedLayout = "2006-01-02T15:04:05.000Z"

// owner tells the registrations of one key apart. It stands in the value, so that
// two processes that hold the same key find out, and agree on who yields.
type owner struct {
	id      string    // random, "" when the value names none
	started time.Time // zero when the value says none, see startAt
}

func newOwner(now time.Time) owner {
	return owner{id: fmt.Sprintf("%016x", rand.Uint64()), started: startAt(now)}
}

// startAt returns t as it stands in a value. It is zero for what is no time of a start:
// one that cannot be written, or that a clock shows which was never set.
func startAt(t time.Time) time.Time {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() <= 1970 || t.Year() >= 9999 {
		return time.Time{}
	}
	return t
}

// ownerOf reads who wrote a value. It never fails: what cannot be read says nothing.
func ownerOf(value []byte) owner {
	const longestID = 64 // ours have 16
	var fields struct {
		Metadata struct {
			Owner   string `json:"steelyard.owner"`
			Started string `json:"steelyard.started"`
		}
	}
	if checkSize(len(value)) != nil || json.Unmarshal(value, &fields) != nil {
		return owner{}
	}
	var o owner
	if said := fields.Metadata; len(said.Owner) <= longestID {
		o.id = said.Owner
	}
	if started, err := time.Parse(time.RFC3339, fields.Metadata.Started); err == nil {
		o.started = startAt(started)
	}
	return o
}

// yieldsTo tells whether other is the newer of two owners. One that does not say
// when it started wrote the key after us: it counts as newer.
func (o owner) yieldsTo(other owner) bool {
	if other.started.IsZero() || other.started.After(o.started) {
		return true
	}
	return other.started.Equal(o.started) && other.id > o.id
}

// outrank returns o as one that other yields to. A newcomer comes last, whatever the
// clocks of two machines say. Where nothing comes after the other's start, or that says
// none, the newcomer says none either: of those the last writer holds the key.
func (o owner) outrank(other owner) owner {
	if other.started.IsZero() || !other.yieldsTo(o) {
		o.started = startAt(other.started.Add(time.Millisecond))
	}
	return o
}

func (o owner) String() string {
	if o.id == "" {
		return "an owner that names itself not"
	}
	if o.started.IsZero() {
		return fmt.Sprintf("owner %.64q, whose start is not known", o.id)
	}
	return fmt.Sprintf("owner %.64q, started %s", o.id, o.started.Format(startedLayout))
}
