package simulation

import "google.golang.org/grpc/connectivity"

// who returns the servers that a change is about.
func (w *world) who(ch change) []*server {
	var who []*server
	for _, s := range w.servers {
		if ch.who(s.backend) {
			who = append(who, s)
		}
	}
	return who
}

// alter brings about the next change of the timeline.
func (w *world) alter() error {
	ch := w.scenario.timeline[w.changes]
	w.changes++
	relist := false
	for _, s := range w.who(ch) {
		relist = relist || s.Absent != ch.become.Absent
		before := s.condition
		s.condition, s.since = ch.become, w.now
		if s.Down != before.Down {
			w.reconnect(s)
		}
	}
	if relist {
		list := w.list()
		for _, c := range w.clients {
			if err := c.update(list); err != nil {
				return err
			}
		}
	}
	return nil
}

// reconnect breaks what there is between the clients and s: connections and the
// calls on them, if s has gone down, and the pauses between attempts, if s is
// back. The policies then connect again, as well as they can.
func (w *world) reconnect(s *server) {
	for c := w.open.first; c != nil; {
		next := c.after
		if c.server == s {
			w.end(c, errLost, nil)
		}
		c = next
	}
	for _, c := range w.clients {
		if conn := c.conns[s.index]; conn != nil && conn.state != connectivity.Idle {
			conn.idle()
		}
	}
	w.dialer.connect()
}
