package consistenthash

import (
	"math/bits"
	"slices"
)

// calendar hands out bids in order of time, among them those that are added
// while it does. Its zero value is empty.
type calendar struct {
	pages  [976][]bid // those to come: see pageOf
	page   int        // the next one
	today  []bid      // what is left of the page that is open, in order
	added  []bid      // since it was opened, the latest first
	sorter sorter
}

// pageOf returns the page of a time, sixteen to an octave: bids get rarer with
// time, but on a page they are about evenly spread.
func pageOf(time uint64) int {
	octave := max(0, bits.Len64(time)-5)
	return octave<<4 + int(time>>octave)
}

// add adds a bid that is not before those handed out.
func (c *calendar) add(b bid) {
	if page := pageOf(b.time); page >= c.page {
		c.pages[page] = append(c.pages[page], b)
		return
	}
	i, _ := slices.BinarySearchFunc(c.added, b, func(earlier, later bid) int {
		if later.before(earlier) {
			return -1
		}
		return 1
	})
	c.added = slices.Insert(c.added, i, b)
}

// turn opens the next page, if there is one.
func (c *calendar) turn() bool {
	if c.page == len(c.pages) {
		return false
	}
	octave := max(0, c.page>>4-1)
	from := uint64(c.page-octave<<4) << octave
	c.today = c.sorter.sort(c.pages[c.page], from, from+(1<<octave-1))
	c.pages[c.page] = nil
	c.page++
	return true
}

// next returns the next bid of the page that is open, if there is one.
func (c *calendar) next() (b bid, ok bool) {
	n := len(c.added)
	switch {
	case n > 0 && (len(c.today) == 0 || c.added[n-1].before(c.today[0])):
		b, c.added = c.added[n-1], c.added[:n-1]
	case len(c.today) > 0:
		b, c.today = c.today[0], c.today[1:]
	default:
		return bid{}, false
	}
	return b, true
}
