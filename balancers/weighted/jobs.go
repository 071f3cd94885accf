package weighted

// job is a backend's next turn in a rotation that is being laid out.
type job struct {
	backend  uint32
	done     uint64 // turns it has had
	deadline uint64 // the call before which this one has to come
}

func (j job) before(o job) bool {
	return j.deadline < o.deadline || j.deadline == o.deadline && j.backend < o.backend
}

// jobs is a binary heap, the earliest deadline on top. It stands here rather
// than container/heap because that boxes each element: laying out a rotation
// is what a weight change costs.
type jobs []job

func (h *jobs) push(j job) {
	*h = append(*h, j)
	s := *h
	for i := len(s) - 1; i > 0; {
		parent := (i - 1) / 2
		if !s[i].before(s[parent]) {
			break
		}
		s[i], s[parent] = s[parent], s[i]
		i = parent
	}
}

// pop takes the top off. The heap must not be empty.
func (h *jobs) pop() job {
	s := *h
	top, last := s[0], len(s)-1
	s[0] = s[last]
	s = s[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if child+1 < last && s[child+1].before(s[child]) {
			child++
		}
		if !s[child].before(s[i]) {
			break
		}
		s[i], s[child] = s[child], s[i]
		i = child
	}
	*h = s
	return top
}
