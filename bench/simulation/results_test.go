package simulation

import (
	"math"
	"slices"
)

// key names the runs that differ in their seed only.
type key struct {
	scenario string
	clients  int
	policy   string
}

// record is one run, in the form of the JSON.
type record struct {
	Scenario string `json:"scenario"`
	Clients  int    `json:"clients"`
	Policy   string `json:"policy"`
	Seed     uint64 `json:"seed"`
	outcome
}

// results are the records, in the order of the runs.
type results struct {
	records []record
	values  map[key]map[metric][]float64
}

func (r *results) add(records ...record) {
	r.records = append(r.records, records...)
	if r.values == nil {
		r.values = make(map[key]map[metric][]float64)
	}
	for _, rec := range records {
		k := key{rec.Scenario, rec.Clients, rec.Policy}
		if r.values[k] == nil {
			r.values[k] = make(map[metric][]float64)
		}
		for m, value := range rec.Values {
			r.values[k][m] = append(r.values[k][m], value)
		}
	}
}

// median over the seeds, false if there is nothing of the kind.
func (r *results) median(k key, m metric) (float64, bool) {
	values := r.values[k][m]
	return quantileOf(values, 0.5), len(values) > 0
}

// spread is half of the distance between the quartiles: half of the seeds are
// about that close to the median.
func (r *results) spread(k key, m metric) float64 {
	values := r.values[k][m]
	return (quantileOf(values, 0.75) - quantileOf(values, 0.25)) / 2
}

// quantileOf interpolates between the two values next to it; 0 for no values.
func quantileOf(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	at := q * float64(len(sorted)-1)
	below := int(math.Floor(at))
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (sorted[above]-sorted[below])*(at-float64(below))
}
