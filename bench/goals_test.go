package bench

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// results are the values of a run of benchmarks by "name unit", the name
// without "Benchmark" and the number of processors. Each -count adds one.
type results map[string][]float64

var processors = regexp.MustCompile(`-\d+$`)

// readResults reads what go test -bench writes, and skips all that is no
// benchmark's line.
func readResults(r io.Reader) (results, error) {
	rs := make(results)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := processors.ReplaceAllString(strings.TrimPrefix(fields[0], "Benchmark"), "")
		for i := 2; i+1 < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return nil, fmt.Errorf("%s: got %q, want a number before %q", name, fields[i], fields[i+1])
			}
			key := name + " " + fields[i+1]
			rs[key] = append(rs[key], value)
		}
	}
	if len(rs) == 0 && lines.Err() == nil {
		return nil, errors.New("no lines of benchmarks")
	}
	return rs, lines.Err()
}

// A measured value is taken from results. It is NaN where a line is missing.
type measured func(results) float64

// line is the median of a benchmark's values, by "name unit".
func line(format string, args ...any) measured {
	return func(rs results) float64 { return median(rs[fmt.Sprintf(format, args...)]) }
}

func quotient(a, b measured) measured {
	return func(rs results) float64 { return a(rs) / b(rs) }
}

// largest is NaN if one of the values is.
func largest(of ...measured) measured {
	return func(rs results) float64 {
		worst := math.Inf(-1)
		for _, m := range of {
			worst = math.Max(worst, m(rs))
		}
		return worst
	}
}

func smallest(of ...measured) measured {
	return func(rs results) float64 {
		worst := math.Inf(1)
		for _, m := range of {
			worst = math.Min(worst, m(rs))
		}
		return worst
	}
}

// goal is a row of the table. It is reached if ours, or ours ÷ stock, is within
// the bound.
type goal struct {
	what  string
	limit limit
	show  func(float64) string // writes ours and stock down
	ours  measured
	stock measured // nil where stock has nothing like it
}

type limit struct {
	bound    float64
	relative bool // bounds ours ÷ stock
	atLeast  bool // or else at most
}

func atMost(bound float64) limit  { return limit{bound: bound} }
func atLeast(bound float64) limit { return limit{bound: bound, atLeast: true} }
func ofStock(bound float64) limit { return limit{bound: bound, relative: true} }

// row returns the goal's cells: what, goal, stock, ours, ratio, reached.
func (g goal) row(rs results) []string {
	ours, stock := g.ours(rs), math.NaN()
	if g.stock != nil {
		stock = g.stock(rs)
	}
	decisive, sign, of := ours, "≤", ""
	if g.limit.relative {
		decisive, of = ours/stock, " × stock"
	}
	if g.limit.atLeast {
		sign = "≥"
	}
	reached := "**not reached**"
	switch {
	case math.IsNaN(decisive):
		reached = "not measured"
	case g.limit.atLeast && decisive >= g.limit.bound, !g.limit.atLeast && decisive <= g.limit.bound:
		reached = "reached"
	}
	bound := g.show(g.limit.bound)
	if g.limit.relative {
		bound = number(g.limit.bound)
	}
	return []string{g.what, sign + " " + bound + of, or(g.show, stock), or(g.show, ours), or(number, ours/stock), reached}
}

// or writes a value down, or a dash where there is none.
func or(show func(float64) string, value float64) string {
	if math.IsNaN(value) {
		return "–"
	}
	return show(value)
}

// number writes a value down to three digits.
func number(v float64) string {
	if math.Abs(v) >= 1_000 || math.IsInf(v, 0) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// duration writes ns down, to three digits.
func duration(ns float64) string {
	unit := time.Nanosecond
	for _, larger := range []time.Duration{time.Microsecond, time.Millisecond, time.Second} {
		if ns >= float64(larger) {
			unit = larger
		}
	}
	return number(ns/float64(unit)) + " " + strings.TrimPrefix(unit.String(), "1")
}

// table writes rows down as markdown that is also aligned. The first row is
// the head.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	for r, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&out, "| %-*s ", widths[i], cell)
		}
		out.WriteString("|\n")
		if r == 0 {
			for _, width := range widths {
				out.WriteString("|" + strings.Repeat("-", width+2))
			}
			out.WriteString("|\n")
		}
	}
	return out.String()
}

var from = flag.String("from", "", "for TestGoals: `file` with the output of the benchmarks, relative to the module's root")

// TestGoals writes down which of the goals a run of the benchmarks reached:
//
//	go test ./bench -run TestGoals -v -args -from bench.out
//
// It fails if it cannot read the run, not for what it reads.
func TestGoals(t *testing.T) {
	if *from == "" {
		t.Skip("no -args -from file")
	}
	path := *from
	if !filepath.IsAbs(path) {
		path = filepath.Join("..", path)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rs, err := readResults(file)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	fmt.Print("\n", table(rowsOf(goals, rs)), "\n")
}

func rowsOf(goals []goal, rs results) [][]string {
	rows := [][]string{{"what", "goal", "stock", "ours", "ratio", ""}}
	for _, g := range goals {
		rows = append(rows, g.row(rs))
	}
	return rows
}
