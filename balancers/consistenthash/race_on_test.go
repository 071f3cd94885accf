//go:build race

package consistenthash

// RaceEnabled says whether the race detector is on.
const RaceEnabled = true
