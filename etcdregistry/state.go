package etcdregistry

// state is what a registration is at, from good to bad.
type state int

const (
	closed        state = iota // the key is gone
	registered                 // the key stands
	draining                   // marked as draining, the key goes soon
	suspect                    // etcd does not answer, or the key is another's
	registering                // the key never stood yet
	reregistering              // the lease or the key was lost
)

func (s state) String() string {
	return [...]string{"closed", "registered", "draining", "suspect", "registering", "reregistering"}[s]
}
