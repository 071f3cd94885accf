package simulation

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

var (
	seedsFlag    = flag.Int("seeds", 0, "run the simulation with so many `seeds`; 20 take some 17 minutes on two processors")
	firstFlag    = flag.Uint64("first-seed", 1, "the first `seed`")
	scenarioFlag = flag.String("scenario", "", "only scenarios whose name matches this `regexp`")
	policyFlag   = flag.String("policy", "", "only policies whose label matches this `regexp`")
	clientsFlag  = flag.String("clients", "", "only these `numbers` of clients, such as 20,200; scenarios with zones have 21 and 210")
	jsonFlag     = flag.String("json", "", "write the results to this `file`; README.md has the schema")
	listFlag     = flag.Bool("list", false, "print the scenarios and policies")
)

const usage = `The simulation of load-balancing policies. Without -seeds only the short tests run.

  go test ./bench/simulation -run TestSimulation -v -timeout 0 -args -seeds 20 -json out.json
  go test ./bench/simulation -run TestSimulation -v -args -seeds 5 -scenario 'black' -policy '^p2c$|stock' -clients 20
  go test ./bench/simulation -run TestSimulation -v -args -list

What comes after -args:
`

func TestMain(m *testing.M) {
	flag.Usage = func() {
		fmt.Fprint(os.Stderr, usage)
		flag.VisitAll(func(f *flag.Flag) {
			if !strings.HasPrefix(f.Name, "test.") {
				name, text := flag.UnquoteUsage(f)
				fmt.Fprintf(os.Stderr, "  -%s %s\n    \t%s\n", f.Name, name, text)
			}
		})
	}
	debug.SetGCPercent(400) // the heap is small, and some policies allocate for each call
	goleak.VerifyTestMain(m)
}

// TestSimulation is the simulation itself. It fails when something cannot be
// run, not when a promise is not kept.
func TestSimulation(t *testing.T) {
	if *listFlag {
		list(t)
		return
	}
	if *seedsFlag <= 0 {
		t.Skip("say how many: -args -seeds 20; -args -help tells more")
	}
	b := &batch{seeds: *seedsFlag, firstSeed: *firstFlag, policies: pattern(t, "policy", *policyFlag)}
	for _, n := range strings.FieldsFunc(*clientsFlag, func(r rune) bool { return r == ',' }) {
		clients, err := strconv.Atoi(n)
		require.NoError(t, err, "-clients: got %q, want numbers separated by commas", *clientsFlag)
		b.clients = append(b.clients, clients)
	}
	matches := pattern(t, "scenario", *scenarioFlag)
	for _, sc := range scenarios {
		if matches.MatchString(sc.name) {
			b.scenarios = append(b.scenarios, sc.filledIn())
		}
	}
	require.NotEmpty(t, b.tasks(), "nothing matches; -args -list prints what there is")
	r, verdicts := b.run(t, os.Stdout)
	if *jsonFlag != "" {
		require.NoError(t, b.document(r, verdicts).write(*jsonFlag))
	}
}

func pattern(t *testing.T, name, text string) *regexp.Regexp {
	re, err := regexp.Compile(text)
	require.NoError(t, err, "-%s", name)
	return re
}

func list(t *testing.T) {
	for _, sc := range scenarios {
		t.Logf("scenario %q", sc.name)
	}
	for _, p := range policies {
		t.Logf("policy %s: %s %s", p.label, p.lb, p.config)
	}
}

// document collects what was run.
func (b *batch) document(r *results, verdicts []verdict) *document {
	d := &document{
		Schema: documentSchema, Settings: settingsOf(b.seeds, b.firstSeed), Records: r.records, Promises: verdicts,
	}
	for i := range b.scenarios {
		d.Scenarios = append(d.Scenarios, b.scenarios[i].text())
	}
	for _, p := range policies {
		if slices.ContainsFunc(r.records, func(rec record) bool { return rec.Policy == p.label }) {
			d.Policies = append(d.Policies, p.text())
		}
	}
	return d
}
