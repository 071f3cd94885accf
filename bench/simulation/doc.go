// Package simulation plays clients with real policies against simulated
// servers, in virtual time: a minute of traffic takes seconds.
//
//	go test ./bench/simulation -run TestSimulation -v -timeout 0 -args -seeds 20
//	go test ./bench/simulation -args -help
//
// It consists of tests only. Policies are hosted by the name they are
// registered under, ours and gRPC-Go's own, and asked through their pickers.
// Connections are fakes. A server is a queue with several workers. Calls come
// at random, as many whether or not the servers keep up. The scenarios and what
// is promised of them are a table, and so are the policies: README.md says how
// to add to them, and what the model leaves out.
//
// A seed settles when each call comes, from which client, with which key and how
// much work it is, the same for each policy. What a policy draws itself comes
// from the runtime's source of random numbers, which has no seed: so two runs of
// one seed differ, and results are medians over many seeds, with their spread.
package simulation
