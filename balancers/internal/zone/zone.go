// Package zone prefers backends in the client's own zone, for the policies that
// do so: it tells which ones are local and what share of the calls they keep.
package zone

import (
	"fmt"
	"math"
	"slices"
)

// What a policy's config can say of the preference.
const (
	On  = "on"
	Off = "off"
)

// Validate refuses what is neither [On] nor [Off].
func Validate(preference string) error {
	if preference != On && preference != Off {
		return fmt.Errorf("zonePreference: got %.40q, want %q or %q", preference, On, Off)
	}
	return nil
}

// Traits is what counts of a backend here.
type Traits struct {
	Zone   string // "" when unknown
	Weight uint64 // that it carries now, positive
	Full   uint64 // that it carries once it has started
}

// slack is how far the local zone may be loaded above the mean of all before
// calls leave it: a crossing costs more than a somewhat busier server.
const slack = 1.4

// Split parts the backends of a client in the zone own into those in that zone
// and all others, and returns the share of the calls that is to stay local:
//
//	min(1, 1.4·ready/total) × min(1, 1.4·Z·total/all)
//
// where total is the full weight of the local members, ready what of it the
// local backends carry now, all the weight of all members and Z the number of
// zones. So a local zone that is short of backends, for the moment or as
// against the others, hands over what it is short of. A member without a zone
// is remote, and is no zone of its own.
//
// Where there is nothing to prefer, all backends are local and the share is 1:
// if own is "", if no member is in it or none in another zone, and if no
// backend is remote. If none is local, the share is 0. Members are all
// endpoints of the list, backends those of them that take calls.
func Split[B any](own string, members, backends []B, of func(*B) Traits) (local, remote []B, share float64) {
	if own == "" {
		return backends, nil, 1
	}
	zones, all := census(members, of)
	total := float64(zones[own])
	if total == 0 || len(zones) < 2 {
		return backends, nil, 1
	}
	ready := uint64(0)
	for i := range backends {
		if t := of(&backends[i]); t.Zone == own {
			local = append(local, backends[i])
			ready += t.Weight
		} else {
			remote = append(remote, backends[i])
		}
	}
	if len(remote) == 0 {
		return local, nil, 1
	}
	share = min(1, slack*float64(ready)/total) * min(1, slack*float64(len(zones))*total/float64(all))
	return local, remote, share
}

// census returns the full weight of each zone and of all members.
func census[B any](members []B, of func(*B) Traits) (zones map[string]uint64, all uint64) {
	zones = make(map[string]uint64)
	for i := range members {
		t := of(&members[i])
		all += t.Full
		if t.Zone != "" {
			zones[t.Zone] += t.Full
		}
	}
	return zones, all
}

// Weigh returns the backends that take calls, and weights by which the local
// ones get share and the remote ones the rest, each side in proportion to what
// its backends carry. With a share of 0 or 1 only one side takes calls, and the
// weights are what its backends carry. Else the share is met to one call in ten
// thousand, for as many backends of ten million each, and to far less with
// smaller weights. The number of backends times the sum of the weights is less
// than 2^63.
func Weigh[B any](local, remote []B, share float64, of func(*B) Traits) (chosen []B, weights []uint64) {
	both := false
	switch {
	case share >= 1:
		chosen = local
	case share <= 0:
		chosen = remote
	default:
		chosen, both = slices.Concat(local, remote), true
	}
	weights = make([]uint64, len(chosen))
	for i := range chosen {
		weights[i] = of(&chosen[i]).Weight
	}
	if both {
		unit := 0x1p62 / float64(len(chosen))
		scale(weights[:len(local)], share*unit)
		scale(weights[len(local):], (1-share)*unit)
	}
	return chosen, weights
}

// scale multiplies weights so that they sum up to about sum. The factor is
// whole, so that equal weights stay equal and their ratios what they were.
func scale(weights []uint64, sum float64) {
	var total uint64
	for _, w := range weights {
		total += w
	}
	factor := uint64(max(1, math.Round(sum/float64(total))))
	for i := range weights {
		weights[i] *= factor
	}
}
