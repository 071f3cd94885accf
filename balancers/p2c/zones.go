package p2c

import "sync/atomic"

const (
	// remotePenalty is how many times the score of a backend in another zone the
	// best local one may have; squared, as costs are. A little more than two: an
	// idle backend scores 1, one with a call 2, and one call in flight is no
	// reason yet to leave the zone.
	remotePenalty = 2.1 * 2.1
	// shunned is by how much more of the local calls than of the others must fail
	// for the whole zone to be left.
	shunned = 0.5
)

// How the estimates of a side's failures move: evenly, so that they are the
// share of late, and slowly back, as every try costs a call.
const (
	sideGain = 1.0 / 4
	sideFade = 40.0 // seconds
)

// sides is how often calls to the local zone and to all others fail. A zone
// that breaks as a whole is left as a whole: to find out backend by backend, time
// and again, would fail too many calls. It is safe for concurrent use.
type sides struct {
	local, remote side
}

// side is the share of late of one side's calls that failed, without failures
// that follow another one of the same endpoint: when one breaks with many calls
// in flight, that says nothing about the rest.
type side struct {
	failures   estimate
	lastFailed atomic.Pointer[endpoint] // nil before any
}

// shun reports whether the local zone is to be left.
func (s *sides) shun(now tick) bool {
	local, at := s.local.failures.load()
	if local <= shunned {
		return false
	}
	remote, since := s.remote.failures.load()
	return local*fade(at.secondsTo(now), sideFade)-remote*fade(since.secondsTo(now), sideFade) > shunned
}

// sample takes in whether a call to an endpoint of the side failed.
func (s *side) sample(e *endpoint, failed bool, now tick) {
	if failed && s.lastFailed.Swap(e) != e || !failed && s.failures.value() != 0 {
		s.failures.sampleFailure(failed, now, sideFade, sideGain, sideGain)
	}
}

// zones is the choice between the backends of the channel's own zone and all
// others.
type zones struct {
	local, remote group
	share         float64 // of the calls that the local zone has the capacity for
	sides         *sides
}

// choose draws candidates of the local zone and one of the others, and leaves
// the zone if that one is much better. It leaves without a look when the zone
// has no capacity left for this call, or is broken.
func (z *zones) choose(v *view, random uint64) choice {
	coin := mix(random)
	if float64(coin>>11)/(1<<53) >= z.share || z.sides.shun(v.now) {
		return z.remote.choose(v, random)
	}
	best := z.local.choose(v, random)
	n := &z.remote.nodes[z.remote.draw(v, mix(coin))]
	if cost, failing := v.costOf(n); cost*remotePenalty < best.cost {
		return choice{n, cost, failing}
	}
	return best
}
