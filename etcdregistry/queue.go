package etcdregistry

import "slices"

// queue holds keys that are to be looked at, each once, in the order in which they came.
type queue struct {
	keys []*key
	has  map[*key]bool
}

func (q *queue) add(one *key) {
	if q.has[one] {
		return
	}
	if q.has == nil {
		q.has = make(map[*key]bool)
	}
	q.has[one] = true
	q.keys = append(q.keys, one)
}

// take returns the first such key, nil if there is none.
func (q *queue) take(such func(*key) bool) *key {
	at := slices.IndexFunc(q.keys, such)
	if at < 0 {
		return nil
	}
	first := q.keys[at]
	delete(q.has, first)
	if at == 0 {
		q.keys = q.keys[1:] // long queues are not moved
	} else {
		q.keys = slices.Delete(q.keys, at, at+1)
	}
	return first
}
