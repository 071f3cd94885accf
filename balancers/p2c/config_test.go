package p2c

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/internal/policytest"
)

var badConfigs = []policytest.Refused{
	{Name: "one choice", JSON: `{"choices":1}`, Want: "choices: got 1, want 2 to 10"},
	{Name: "no choice", JSON: `{"choices":0}`, Want: "choices: got 0, want 2 to 10"},
	{Name: "negative", JSON: `{"choices":-2}`, Want: "choices: got -2, want 2 to 10"},
	{Name: "too many choices", JSON: `{"choices":11}`, Want: "choices: got 11, want 2 to 10"},
	{Name: "fraction", JSON: `{"choices":2.5}`, Want: "choices: got number 2.5, want a whole number in range"},
	{Name: "beyond an int", JSON: `{"choices":1e30}`, Want: "choices: got number 1e30, want a whole number in range"},
	{Name: "text", JSON: `{"choices":"2"}`, Want: "choices: got string, want a whole number in range"},
	{Name: "list", JSON: `{"choices":[2]}`, Want: "choices: got array, want a whole number in range"},
	{Name: "unknown load", JSON: `{"load":"cpu"}`, Want: `load: got "cpu", want "latency" or "requests"`},
	{Name: "empty load", JSON: `{"load":""}`, Want: `load: got "", want "latency" or "requests"`},
	{Name: "bool", JSON: `{"load":true}`, Want: "load: got bool, want a string"},
	{
		Name: "long value", JSON: `{"load":"` + strings.Repeat("x", 1000) + `"}`,
		Want: `load: got "` + strings.Repeat("x", 40) + `", want "latency" or "requests"`,
	},
	{Name: "good and bad", JSON: `{"choices":3,"load":"cpu"}`, Want: `load: got "cpu", want "latency" or "requests"`},
}

func TestParseConfig_RefusesWithTheFieldAndWhatIsRight(t *testing.T) {
	policytest.RequireRefused(t, Name, badConfigs...)
}

func TestParseConfig_RefusalOfALongNumberFitsALine(t *testing.T) {
	_, err := policytest.Parse(Name, `{"choices":`+strings.Repeat("9", 10_000)+`}`)
	policytest.RequireRefusalFitsALine(t, err)
}

func TestParseConfig_DefaultsAndUnknownFields(t *testing.T) {
	policytest.RequireSame(t, Name, `{"choices":2,"load":"latency"}`,
		`{}`, `null`, ``, "\n", `{"choices":null}`, `{"choices":2}`, `{"load":"latency"}`, `{"smoothing":{"tau":"10s"}}`)
	policytest.RequireSame(t, Name, `{"choices":10,"load":"requests"}`, `{"load":"requests","choices":10,"later":1}`)
	require.NotEqual(t, policytest.Read(t, Name, `{}`), policytest.Read(t, Name, `{"choices":3}`))
}

func TestConfig_ServiceConfigIsTakenByGRPC(t *testing.T) {
	policytest.RequireServiceConfig(t, Name, Config{}.ServiceConfig(), `{}`)
	policytest.RequireServiceConfig(t, Name, Config{Choices: 10, Load: Requests}.ServiceConfig(), `{"choices":10,"load":"requests"}`)
	policytest.RequireServiceConfig(t, Name, Config{Load: Requests}.ServiceConfig(), `{"load":"requests"}`)
}

func TestNewPickerBuilder_PickersReturnTheRefusal(t *testing.T) {
	info := policytest.BuildInfo(policytest.Alike(2)...)
	policytest.RequireBuildersRefusal(t, Name, NewPickerBuilder(Config{Choices: 1}).Build(info), "choices: got 1, want 2 to 10")
	policytest.RequireBuildersRefusal(t, Name, NewPickerBuilder(Config{Load: "cpu"}).Build(info), `load: got "cpu", want "latency" or "requests"`)
}

func FuzzParseConfig(f *testing.F) {
	policytest.FuzzParse(f, Name, defaults, func(t *testing.T, cfg Config) {
		require.GreaterOrEqual(t, cfg.Choices, 2)
		require.LessOrEqual(t, cfg.Choices, 10)
		require.Contains(t, []string{Latency, Requests}, cfg.Load)
	}, append(policytest.Texts(badConfigs), `{"choices":3,"load":"requests"}`, `{"CHOICES":2}`, `{"choices":2,"choices":3}`)...)
}
