package etcdresolver

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/attrs"
)

// story plays what happens to endpoints, named by letters, to guards.
type story struct {
	guards guards
	began  time.Time
	muted  bool // etcd does not answer
	listed map[string]*member
	last   guarded
}

func newStory(shrinkHold, emptyHold time.Duration, names string) *story {
	s := &story{guards: guards{shrinkHold: shrinkHold, emptyHold: emptyHold}, began: time.Unix(1_000_000, 0), listed: make(map[string]*member)}
	for _, name := range strings.Fields(names) {
		s.listed[name] = &member{addr: name}
	}
	return s
}

// at has things happen: -a leaves, ~a leaves after it was draining, +a comes; etcd
// is mute, or answers. It returns the names in the list that the guards give.
func (s *story) at(t *testing.T, elapsed time.Duration, things string) string {
	t.Helper()
	var gone []*member
	for _, thing := range strings.Fields(things) {
		name := thing[1:]
		switch thing[0] {
		case '+':
			s.listed[name] = &member{addr: name}
		case '-', '~':
			m := *s.listed[name]
			m.attrs = attrs.Attrs{Draining: thing[0] == '~'}
			gone = append(gone, &m)
			delete(s.listed, name)
		default:
			s.muted = thing == "mute"
		}
	}
	s.last = s.guards.apply(s.began.Add(elapsed), s.list(), gone, !s.muted)
	return addrsOf(s.last.list)
}

func (s *story) list() []*member {
	return slices.SortedFunc(maps.Values(s.listed), func(a, b *member) int { return strings.Compare(a.addr, b.addr) })
}

func TestGuards_Stories(t *testing.T) {
	type step struct {
		second int
		things string
		want   string // the list
	}
	type limits struct{ shrinkHold, emptyHold time.Duration }
	usual := limits{defaultShrinkHold, defaultEmptyHold}
	for name, c := range map[string]struct {
		limits
		names string
		steps []step
	}{
		"three of five stay for 40 s": {usual, "a b c d e", []step{
			{0, "-a -b -c", "a b c d e"}, {39, "", "a b c d e"}, {40, "", "d e"},
		}},
		"three of five within 29 s stay, each for 40 s after it left": {usual, "a b c d e", []step{
			{0, "-a", "b c d e"},
			{10, "-b", "c d e"},
			{29, "-c", "a b c d e"},
			{40, "", "b c d e"},
			{50, "", "c d e"},
			{68, "", "c d e"},
			{69, "", "d e"},
		}},
		"three of five within 31 s go":         {usual, "a b c d e", []step{{0, "-a", "b c d e"}, {15, "-b", "c d e"}, {31, "-c", "d e"}}},
		"two of three go":                      {usual, "a b c", []step{{0, "-a -b", "c"}}},
		"three of six go: half is not more":    {usual, "a b c d e f", []step{{0, "-a -b -c", "d e f"}}},
		"four of seven stay":                   {usual, "a b c d e f g", []step{{0, "-a -b -c -d", "a b c d e f g"}, {40, "", "e f g"}}},
		"replaced by as many others, they go":  {usual, "a b c", []step{{0, "-a -b -c +d +e +f", "d e f"}}},
		"draining ones go":                     {usual, "a b c d e", []step{{0, "~a ~b ~c", "d e"}}},
		"draining ones are no sign of trouble": {usual, "a b c d e", []step{{0, "~a -b -c", "d e"}}},
		"draining ones go, the others stay":    {usual, "a b c d e", []step{{0, "~a -b -c -d", "b c d e"}}},
		"more that leave meanwhile stay too": {usual, "a b c d e f", []step{
			{0, "-a -b -c -d", "a b c d e f"}, {20, "-e", "a b c d e f"}, {40, "", "e f"}, {60, "", "f"},
		}},
		"who comes back is there, the others are waited for": {usual, "a b c d e", []step{
			{0, "-a -b -c", "a b c d e"}, {5, "+a", "a b c d e"}, {40, "", "a d e"},
		}},
		"who comes back and drains away goes": {usual, "a b c d e", []step{
			{0, "-a -b -c", "a b c d e"}, {5, "+a", "a b c d e"}, {6, "~a", "b c d e"},
		}},
		"all come back": {usual, "a b c", []step{
			{0, "-a -b -c", "a b c"}, {5, "+a +b +c", "a b c"}, {1000, "", "a b c"},
		}},
		"while etcd is mute nobody is let go": {usual, "a b c d", []step{
			{0, "-a -b -c", "a b c d"}, {10, "mute", "a b c d"}, {300, "", "a b c d"}, {301, "answers", "d"},
		}},

		"of an empty list the last stay for 10 min": {usual, "a b", []step{
			{0, "-a -b", "a b"}, {599, "", "a b"}, {600, "", ""},
		}},
		"and so do those who left lately": {usual, "a b c", []step{
			{0, "-a", "b c"}, {10, "-b", "c"}, {20, "-c", "a b c"}, {619, "", "a b c"}, {620, "", ""},
		}},
		"but not who left before":       {usual, "a b c", []step{{0, "-a", "b c"}, {31, "-b -c", "b c"}}},
		"an empty list may be intended": {usual, "a b", []step{{0, "~a ~b", ""}}},
		"a list that was shrunk before is empty": {usual, "a b c d", []step{
			{0, "-a -b -c", "a b c d"}, {35, "-d", "a b c d"}, {634, "", "a b c d"}, {635, "", ""},
		}},
		"of an empty list nobody is let go while etcd is mute": {usual, "a b", []step{
			{0, "-a -b", "a b"}, {300, "mute", "a b"}, {900, "", "a b"}, {901, "answers", ""},
		}},
		"with the first to come back the others have 40 s": {usual, "a b c", []step{
			{0, "-a -b -c", "a b c"}, {300, "+a", "a b c"}, {320, "+b", "a b c"}, {339, "", "a b c"}, {340, "", "a b"},
		}},
		"also when etcd comes back with it, late": {usual, "a b c", []step{
			{0, "-a -b -c", "a b c"}, {300, "mute", "a b c"}, {900, "answers +a", "a b c"}, {940, "", "a"},
		}},
		"also when it is somebody else": {usual, "a b", []step{
			{0, "-a -b", "a b"}, {300, "+z", "a b z"}, {340, "", "z"},
		}},
		"empty again, the last stay again": {usual, "a b", []step{
			{0, "-a -b", "a b"}, {600, "", ""}, {700, "+a", "a"}, {800, "-a", "a"}, {1399, "", "a"}, {1400, "", ""},
		}},
		"who was let go does not come back with others": {limits{defaultShrinkHold, 10 * time.Second}, "a b", []step{
			{0, "-a -b", "a b"}, {10, "", ""}, {20, "+a", "a"}, {21, "", "a"},
		}},

		"no shrink guard":                  {limits{0, defaultEmptyHold}, "a b c d", []step{{0, "-a -b -c", "d"}}},
		"no shrink guard, and a mute etcd": {limits{0, defaultEmptyHold}, "a b c d", []step{{0, "mute -a -b -c", "d"}}},
		"no empty guard":                   {limits{defaultShrinkHold, 0}, "a b", []step{{0, "-a -b", ""}}},
		"no empty guard, many leave": {limits{defaultShrinkHold, 0}, "a b c", []step{
			{0, "-a -b -c", "a b c"}, {40, "", ""},
		}},
		"no guard at all": {limits{}, "a b c d", []step{{0, "-a -b -c -d", ""}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStory(c.shrinkHold, c.emptyHold, c.names)
			for _, step := range c.steps {
				require.Equal(t, step.want, s.at(t, time.Duration(step.second)*time.Second, step.things), "at %d s", step.second)
			}
		})
	}
}

func TestGuards_SayWhenToLookAgain(t *testing.T) {
	s := newStory(defaultShrinkHold, defaultEmptyHold, "a b c d e")
	s.at(t, 0, "-a")
	require.Zero(t, s.last.next, "nobody is held")
	s.at(t, time.Second, "-b -c")
	require.Equal(t, 3, s.last.held)
	require.Equal(t, s.began.Add(defaultShrinkHold), s.last.next, "for the first")
	s.at(t, defaultShrinkHold, "")
	require.Equal(t, s.began.Add(defaultShrinkHold+time.Second), s.last.next, "for the others")
	s.at(t, defaultShrinkHold+time.Second, "mute")
	require.Equal(t, 2, s.last.held)
	require.Zero(t, s.last.next, "no time is known: the answer of etcd ends it")
	s.at(t, time.Hour, "answers")
	require.Zero(t, s.last.held)
	require.Empty(t, s.guards.departed, "nothing is remembered for ever")
}

// FuzzGuards plays anything to the guards. Whatever happens, they never drop who is
// listed, never hold who was draining, say when to look again, and in the end give
// the list as it stands.
func FuzzGuards(f *testing.F) {
	f.Add([]byte{0x00, 0x01, 0x02, 0x93, 0x80, 0x10, 0x95, 0xa0, 0xb0})
	f.Add([]byte("many come and go, and etcd is mute now and then"))
	f.Fuzz(func(t *testing.T, things []byte) {
		const names = "abcdefgh"
		s := newStory(defaultShrinkHold, defaultEmptyHold, "a b c d e f")
		drained := make(map[string]bool) // who was draining when it left last
		now := time.Duration(0)
		for _, b := range things[:min(len(things), 500)] {
			name, thing := string(names[b&7]), ""
			_, listed := s.listed[name]
			switch kind := b >> 4; {
			case kind < 5 && listed:
				thing, drained[name] = "-"+name, false
			case kind < 7 && listed:
				thing, drained[name] = "~"+name, true
			case kind < 9 && !listed:
				thing = "+" + name
			case kind < 15:
				now += time.Duration(1+b&0xf) * 3 * time.Second
			default:
				thing = []string{"mute", "answers"}[b&1]
			}
			s.at(t, now, thing)
			s.check(t, now, drained)
		}
		s.at(t, now, "answers")
		for looks := 0; !s.last.next.IsZero() && looks < 10; looks++ {
			held := s.last.held
			now = s.last.next.Sub(s.began)
			s.at(t, now, "")
			s.check(t, now, drained)
			require.Less(t, s.last.held, held, "somebody is let go")
		}
		require.Equal(t, s.list(), s.last.list)
	})
}

func (s *story) check(t *testing.T, now time.Duration, drained map[string]bool) {
	t.Helper()
	require.True(t, slices.IsSortedFunc(s.last.list, func(a, b *member) int { return strings.Compare(a.addr, b.addr) }))
	require.Len(t, slices.Compact(strings.Fields(addrsOf(s.last.list))), len(s.last.list), "nobody is there twice")
	require.Len(t, s.last.list, len(s.listed)+s.last.held)
	for _, m := range s.last.list {
		if listed := s.listed[m.addr]; listed != nil {
			require.Same(t, listed, m, "who is listed counts as it is listed")
		} else {
			require.False(t, drained[m.addr], "%s went on purpose", m.addr)
		}
	}
	if s.last.held > 0 && !s.muted {
		require.True(t, s.last.next.After(s.began.Add(now)), "there is always an end")
	}
}
