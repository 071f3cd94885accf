package bench

import "math"

// The lines that goals are made of.

func pick(policy string, n int) measured {
	return line("Pick/policy=%s/backends=%d cpu-ns/op", policy, n)
}

func allocs(policy string) measured {
	return largest(line("Pick/policy=%s/backends=100 allocs/op", policy), line("Pick/policy=%s/backends=10000 allocs/op", policy))
}

func growth(policy string) measured { return quotient(pick(policy, 10_000), pick(policy, 100)) }

func connect(policy string, n int) measured {
	return line("Connect/policy=%s/backends=%d cpu-ns/backend", policy, n)
}

// connectGrowth is the cost of connecting ten times as many ÷ the cost. The
// lines are of the cost per backend.
func connectGrowth(policy string) measured {
	ratio := quotient(connect(policy, 10_000), connect(policy, 1_000))
	return func(rs results) float64 { return 10 * ratio(rs) }
}

func weightChange(policy, unit string) measured {
	return line("WeightChange/policy=%s/backends=10000 %s", policy, unit)
}

// fit is how often honest draws would be as bad as the worst of the lines of
// BenchmarkShares, one for each weighting and size: with fifteen lines one below
// 0.01 is no wonder (Šidák 1967).
func fit(policy string) measured {
	var all []measured
	for _, w := range weightings {
		for _, n := range sizes {
			all = append(all, line("Shares/policy=%s/weights=%s/backends=%d p", policy, w.label, n))
		}
	}
	least := smallest(all...)
	return func(rs results) float64 { return 1 - math.Pow(1-least(rs), float64(len(all))) }
}

func smoothness(policy string) measured {
	var all []measured
	for _, a := range awkward {
		all = append(all, line("Smooth/policy=%s/weights=%s/backends=%d max-dev-calls", policy, a.label, a.backends))
	}
	return largest(all...)
}

// peak is the largest peak ÷ average of a map over sizes from one to another.
func peak(policy, weights string, least, most int) measured {
	return over(least, most, func(n int) measured {
		return line("Shares/policy=%s/weights=%s/backends=%d peak/avg", policy, weights, n)
	})
}

// moved is the largest of a metric of BenchmarkKeysMoved over sizes from one to
// another, with equal weights and with 1:2:4.
func moved(policy, unit string, least, most int) measured {
	return over(least, most, func(n int) measured {
		return largest(
			line("KeysMoved/policy=%s/weights=equal/backends=%d %s", policy, n, unit),
			line("KeysMoved/policy=%s/weights=1:2:4/backends=%d %s", policy, n, unit))
	})
}

// onLoopback is a policy's calls on loopback against those of stock round_robin.
func onLoopback(policy, unit string) measured { return line("Loopback/policy=%s %s", policy, unit) }

func over(least, most int, value func(n int) measured) measured {
	var all []measured
	for _, n := range sizes {
		if n >= least && n <= most {
			all = append(all, value(n))
		}
	}
	return largest(all...)
}

// goals are the rows of the table, one a line. See DESIGN.md's "Numbers to reach".
var goals = []goal{
	{"pick, round robin, 100 backends", ofStock(1.0), duration, pick("round_robin", 100), pick("stock_round_robin", 100)},
	{"pick, weighted random", ofStock(0.35), duration, pick("weighted_random", 100), pick("stock_weighted_round_robin", 100)},
	{"pick, weighted smooth", ofStock(0.35), duration, pick("weighted_smooth", 100), pick("stock_weighted_round_robin", 100)},
	{"pick + done, p2c with load \"requests\"", ofStock(0.3), duration, pick("p2c_requests", 100), pick("stock_least_request", 100)},
	{"pick + done, p2c", ofStock(0.8), duration, pick("p2c", 100), pick("stock_least_request", 100)},
	{"pick, hash, key by WithKey", ofStock(0.1), duration, pick("hash_key", 100), pick("stock_ring_hash", 100)},
	{"pick, hash, key by metadata", ofStock(0.7), duration, pick("hash_header", 100), pick("stock_ring_hash", 100)},

	{"allocations of a pick, round robin", atMost(0), number, allocs("round_robin"), allocs("stock_round_robin")},
	{"allocations, weighted random", atMost(0), number, allocs("weighted_random"), allocs("stock_weighted_round_robin")},
	{"allocations, weighted smooth", atMost(0), number, allocs("weighted_smooth"), allocs("stock_weighted_round_robin")},
	{"allocations, p2c with load \"requests\"", atMost(0), number, allocs("p2c_requests"), allocs("stock_least_request")},
	{"allocations, p2c", atMost(0), number, allocs("p2c"), allocs("stock_least_request")},
	{"allocations, hash, key by WithKey", atMost(0), number, allocs("hash_key"), allocs("stock_ring_hash")},

	{"pick at 10,000 ÷ at 100, round robin", atMost(1.5), number, growth("round_robin"), growth("stock_round_robin")},
	{"at 10,000 ÷ at 100, weighted random", atMost(1.5), number, growth("weighted_random"), growth("stock_weighted_round_robin")},
	{"at 10,000 ÷ at 100, weighted smooth", atMost(1.5), number, growth("weighted_smooth"), growth("stock_weighted_round_robin")},
	{"at 10,000 ÷ at 100, p2c with load \"requests\"", atMost(1.5), number, growth("p2c_requests"), growth("stock_least_request")},
	{"at 10,000 ÷ at 100, p2c", atMost(1.5), number, growth("p2c"), growth("stock_least_request")},
	{"at 10,000 ÷ at 100, hash, key by WithKey", atMost(1.5), number, growth("hash_key"), growth("stock_ring_hash")},
	{"at 10,000 ÷ at 100, hash, key by metadata", atMost(1.5), number, growth("hash_header"), growth("stock_ring_hash")},

	{"connect 10,000, CPU each, round robin", ofStock(1.0 / 50), duration, connect("round_robin", 10_000), connect("stock_base", 10_000)},
	{"connect 10,000, weighted random", ofStock(1.0 / 50), duration, connect("weighted_random", 10_000), connect("stock_base", 10_000)},
	{"connect 10,000, weighted smooth", ofStock(1.0 / 50), duration, connect("weighted_smooth", 10_000), connect("stock_base", 10_000)},
	{"connect 10,000, p2c", ofStock(1.0 / 50), duration, connect("p2c", 10_000), connect("stock_base", 10_000)},
	{"connect 10,000, hash", ofStock(1.0 / 50), duration, connect("hash_key", 10_000), connect("stock_base", 10_000)},
	{"connect 10,000 ÷ 1,000, round robin", atMost(12), number, connectGrowth("round_robin"), connectGrowth("stock_base")},
	{"connect 10,000 ÷ 1,000, weighted random", atMost(12), number, connectGrowth("weighted_random"), connectGrowth("stock_base")},
	{"connect 10,000 ÷ 1,000, weighted smooth", atMost(12), number, connectGrowth("weighted_smooth"), connectGrowth("stock_base")},
	{"connect 10,000 ÷ 1,000, p2c", atMost(12), number, connectGrowth("p2c"), connectGrowth("stock_base")},
	{"connect 10,000 ÷ 1,000, hash", atMost(12), number, connectGrowth("hash_key"), connectGrowth("stock_base")},

	{"one weight of 10,000 changes, weighted random", atMost(20e6), duration, weightChange("weighted_random", "ns/op"), nil},
	{"one weight of 10,000 changes, weighted smooth", atMost(20e6), duration, weightChange("weighted_smooth", "ns/op"), nil},
	{"one weight of 10,000 changes, p2c", atMost(20e6), duration, weightChange("p2c", "ns/op"), nil},
	{"one weight of 10,000 changes, hash", atMost(200e6), duration, weightChange("hash_key", "ns/op"), weightChange("stock_ring_hash", "ns/op")},

	{"χ² p of shares, all weights and sizes, weighted random", atLeast(0.01), number, fit("weighted_random"), nil},
	{"χ² p of shares, weighted smooth", atLeast(0.01), number, fit("weighted_smooth"), fit("stock_weighted_round_robin")},
	{"χ² p of shares, p2c with load \"requests\"", atLeast(0.01), number, fit("p2c_requests"), nil},
	{"calls off after up to 10⁶, weighted smooth", atMost(2), number, smoothness("weighted_smooth"), smoothness("stock_weighted_round_robin")},

	{"hash peak ÷ average, equal weights, up to 1,000 backends", atMost(1.05), number, peak("hash_key", "equal", 3, 1_000), peak("stock_ring_hash", "equal", 3, 1_000)},
	{"hash peak ÷ average, equal weights, 10,000 backends", atMost(1.10), number, peak("hash_key", "equal", 10_000, 10_000), peak("stock_ring_hash", "equal", 10_000, 10_000)},
	{"hash peak ÷ average, 1:2:4, up to 1,000 backends", atMost(1.05), number, peak("hash_key", "1:2:4", 3, 1_000), peak("stock_ring_hash", "1:2:4", 3, 1_000)},
	{"hash peak ÷ average, 1:2:4, 10,000 backends", atMost(1.10), number, peak("hash_key", "1:2:4", 10_000, 10_000), peak("stock_ring_hash", "1:2:4", 10_000, 10_000)},
	{"keys moved by a removal ÷ optimum, up to 100 backends", atMost(1.1), number, moved("hash_key", "removed/opt", 3, 100), moved("stock_ring_hash", "removed/opt", 3, 100)},
	{"keys moved by a removal ÷ optimum, 1,000 backends", atMost(2), number, moved("hash_key", "removed/opt", 1_000, 1_000), moved("stock_ring_hash", "removed/opt", 1_000, 1_000)},
	{"keys moved by a removal ÷ optimum, 10,000 backends", atMost(2), number, moved("hash_key", "removed/opt", 10_000, 10_000), moved("stock_ring_hash", "removed/opt", 10_000, 10_000)},
	{"keys moved by a weight halved ÷ optimum, up to 100 backends", atMost(1.2), number, moved("hash_key", "halved/opt", 3, 100), moved("stock_ring_hash", "halved/opt", 3, 100)},
	{"keys moved by a weight halved ÷ optimum, 1,000 backends", atMost(2), number, moved("hash_key", "halved/opt", 1_000, 1_000), moved("stock_ring_hash", "halved/opt", 1_000, 1_000)},
	{"keys moved by a weight halved ÷ optimum, 10,000 backends", atMost(2), number, moved("hash_key", "halved/opt", 10_000, 10_000), moved("stock_ring_hash", "halved/opt", 10_000, 10_000)},
	{"keys elsewhere after a backend was down and is back, %", atMost(0), number, moved("hash_key", "strays-%", 3, 10_000), moved("stock_ring_hash", "strays-%", 3, 1_000)},

	{"calls a second on loopback ÷ stock round_robin, round robin", atLeast(0.98), number, onLoopback("round_robin", "calls/stock"), nil},
	{"calls a second on loopback ÷ stock round_robin, weighted random", atLeast(0.98), number, onLoopback("weighted_random", "calls/stock"), onLoopback("stock_weighted_round_robin", "calls/stock")},
	{"calls a second on loopback ÷ stock round_robin, weighted smooth", atLeast(0.98), number, onLoopback("weighted_smooth", "calls/stock"), onLoopback("stock_weighted_round_robin", "calls/stock")},
	{"calls a second on loopback ÷ stock round_robin, p2c", atLeast(0.98), number, onLoopback("p2c", "calls/stock"), onLoopback("stock_least_request", "calls/stock")},
	{"calls a second on loopback ÷ stock round_robin, p2c with load \"requests\"", atLeast(0.98), number, onLoopback("p2c_requests", "calls/stock"), onLoopback("stock_least_request", "calls/stock")},
	{"calls a second on loopback ÷ stock round_robin, hash", atLeast(0.98), number, onLoopback("hash_key", "calls/stock"), onLoopback("stock_ring_hash", "calls/stock")},
	{"p99 on loopback ÷ stock round_robin, round robin", atMost(1.05), number, onLoopback("round_robin", "p99/stock"), nil},
	{"p99 on loopback ÷ stock round_robin, weighted random", atMost(1.05), number, onLoopback("weighted_random", "p99/stock"), onLoopback("stock_weighted_round_robin", "p99/stock")},
	{"p99 on loopback ÷ stock round_robin, weighted smooth", atMost(1.05), number, onLoopback("weighted_smooth", "p99/stock"), onLoopback("stock_weighted_round_robin", "p99/stock")},
	{"p99 on loopback ÷ stock round_robin, p2c", atMost(1.05), number, onLoopback("p2c", "p99/stock"), onLoopback("stock_least_request", "p99/stock")},
	{"p99 on loopback ÷ stock round_robin, p2c with load \"requests\"", atMost(1.05), number, onLoopback("p2c_requests", "p99/stock"), onLoopback("stock_least_request", "p99/stock")},
	{"p99 on loopback ÷ stock round_robin, hash", atMost(1.05), number, onLoopback("hash_key", "p99/stock"), onLoopback("stock_ring_hash", "p99/stock")},
}
