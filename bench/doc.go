// Package bench measures the policies of this module beside those that come
// with gRPC-Go, in one run and on the same fake connections; loopback_test.go on real ones:
//
//	go test -run '^$' -bench . ./bench/
//
// It consists of tests only. README.md says what is measured, and how to add a
// policy; RESULTS.md has the numbers.
package bench
