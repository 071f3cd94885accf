//go:build !race

package policytest

// RaceEnabled says whether the race detector is on.
const RaceEnabled = false
