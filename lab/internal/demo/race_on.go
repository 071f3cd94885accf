//go:build race

package demo

// slowdown is what the promised times are multiplied by: under the race detector
// a table of the hash takes more than ten times as long to build, and the demo
// builds it twice.
const slowdown = 5
