package simulation

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/grpc"
)

// writeTable prints what the policies reached in a scenario, median and spread
// over the seeds.
func (r *results) writeTable(out io.Writer, sc *scenario, clients int, run []policy) {
	table := [][]string{{"policy"}}
	for _, c := range columns {
		table[0] = append(table[0], c.head)
	}
	for _, p := range run {
		line := []string{p.label}
		for _, c := range columns {
			line = append(line, r.cell(key{sc.name, clients, p.label}, c.metric, c.digits))
		}
		table = append(table, line)
	}
	align(out, table)
}

// cell is median ± spread.
func (r *results) cell(k key, m metric, digits int) string {
	value, ok := r.median(k, m)
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%.*f ±%.*f", digits, value, digits, r.spread(k, m))
}

// align prints lines of cells: the first column to the left, all others to the
// right. All lines have as many cells.
func align(out io.Writer, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var text strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				text.WriteString(cell + pad)
			} else {
				text.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(out, strings.TrimRight(text.String(), " "))
	}
}

// writeVerdicts prints which promises are kept.
func writeVerdicts(out io.Writer, verdicts []verdict) {
	table := [][]string{{"promise", "clients", "policy", "what", "got", "bound", ""}}
	for _, v := range verdicts {
		sign := "≤ "
		if v.Least {
			sign = "≥ "
		}
		said := map[bool]string{true: "kept", false: "NOT KEPT"}[v.Kept]
		if v.Got == nil || v.Bound == nil {
			said = "not run"
		}
		bound := sign + number(v.Bound)
		if v.Of != "" && v.Bound != nil {
			bound += " (" + v.Of + ")"
		}
		table = append(table, []string{
			v.Scenario, fmt.Sprint(v.Clients), v.Policy, string(v.Metric), number(v.Got), bound, said,
		})
	}
	align(out, table)
}

func number(x *float64) string {
	if x == nil {
		return "–"
	}
	return fmt.Sprintf("%.4g", *x)
}

// document is the JSON that -json writes.
type document struct {
	Schema    string         `json:"schema"` // documentSchema
	Settings  settings       `json:"settings"`
	Scenarios []scenarioText `json:"scenarios"` // those that were run
	Policies  []policyText   `json:"policies"`  // those that were run
	Records   []record       `json:"records"`   // one for each scenario, number of clients, policy and seed
	Promises  []verdict      `json:"promises"`
}

// documentSchema changes with the meaning of a field.
const documentSchema = "steelyard-simulation/1"

type settings struct {
	Time       time.Time `json:"time"`
	Go         string    `json:"go"`
	GRPC       string    `json:"grpc"`
	Platform   string    `json:"platform"`
	CPUs       int       `json:"cpus"`
	Seeds      int       `json:"seeds"`
	FirstSeed  uint64    `json:"firstSeed"`
	ServiceMs  float64   `json:"serviceMs"`  // mean service time of a server that is well
	DeadlineMs float64   `json:"deadlineMs"` // of each call
	StepMs     float64   `json:"stepMs"`     // what virtual time goes on by
}

type scenarioText struct {
	Name     string       `json:"name"`
	Load     float64      `json:"load"`
	Backends int          `json:"backends"`
	Workers  int          `json:"workers"`
	Weights  []uint32     `json:"weights"`
	Zones    []zone       `json:"zones"`
	Callers  string       `json:"callers"`
	Service  string       `json:"service"`
	From     float64      `json:"fromSeconds"`
	To       float64      `json:"toSeconds"`
	Watched  []int        `json:"watched"` // numbers of the backends
	Timeline []changeText `json:"timeline"`
}

type changeText struct {
	At     float64   `json:"atSeconds"`
	Who    []int     `json:"who"` // numbers of the backends
	Become condition `json:"become"`
}

type policyText struct {
	Label   string `json:"label"`
	Name    string `json:"name"`
	Config  string `json:"config"`
	Stock   bool   `json:"stock"`
	Reports bool   `json:"reports"`
}

func settingsOf(seeds int, first uint64) settings {
	return settings{
		Time: time.Now().UTC(), Go: runtime.Version(), GRPC: grpc.Version, Platform: runtime.GOOS + "/" + runtime.GOARCH,
		CPUs: runtime.GOMAXPROCS(0), Seeds: seeds, FirstSeed: first,
		ServiceMs: milliseconds(meanService), DeadlineMs: milliseconds(deadline), StepMs: milliseconds(step),
	}
}

func (sc *scenario) text() scenarioText {
	t := scenarioText{
		Name: sc.name, Load: sc.load, Backends: sc.backends, Workers: sc.workers, Weights: sc.weights,
		Zones: sc.zones, Callers: sc.callers, Service: sc.service.name,
		From: sc.from.Seconds(), To: sc.to.Seconds(), Watched: sc.members(sc.watched),
	}
	for _, ch := range sc.timeline {
		t.Timeline = append(t.Timeline, changeText{At: ch.at.Seconds(), Who: sc.members(ch.who), Become: ch.become})
	}
	return t
}

// members returns the numbers of the backends that are meant.
func (sc *scenario) members(who which) []int {
	var members []int
	for i := range sc.backends {
		if who != nil && who(backend{index: i, zone: sc.zoneOfBackend(i)}) {
			members = append(members, i)
		}
	}
	return members
}

func (p policy) text() policyText {
	return policyText{Label: p.label, Name: p.lb, Config: p.config, Stock: p.stock, Reports: p.reports}
}

func (d *document) write(file string) error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}
