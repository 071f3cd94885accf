package weighted

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

var badConfigs = []policytest.Refused{
	{Name: "unknown schedule", JSON: `{"schedule":"wrr"}`, Want: `schedule: got "wrr", want "random" or "smooth"`},
	{Name: "empty schedule", JSON: `{"schedule":""}`, Want: `schedule: got "", want "random" or "smooth"`},
	{Name: "wrong case", JSON: `{"schedule":"Smooth"}`, Want: `schedule: got "Smooth", want "random" or "smooth"`},
	{Name: "number", JSON: `{"schedule":1}`, Want: "schedule: got number, want a string"},
	{Name: "list", JSON: `{"schedule":["smooth"]}`, Want: "schedule: got array, want a string"},
	{Name: "object", JSON: `{"schedule":{"smooth":true}}`, Want: "schedule: got object, want a string"},
	{
		Name: "long value", JSON: `{"schedule":"` + strings.Repeat("x", 1000) + `"}`,
		Want: `schedule: got "` + strings.Repeat("x", 40) + `", want "random" or "smooth"`,
	},
	{Name: "unknown preference", JSON: `{"zonePreference":"x"}`, Want: `zonePreference: got "x", want "on" or "off"`},
	{Name: "empty preference", JSON: `{"zonePreference":""}`, Want: `zonePreference: got "", want "on" or "off"`},
	{Name: "preference as a bool", JSON: `{"zonePreference":true}`, Want: "zonePreference: got bool, want a string"},
	{
		Name: "short slow start", JSON: `{"slowStart":"30ms"}`,
		Want: `slowStart: got "30ms", want "100ms" to "1h0m0s", or "0s" for none`,
	},
	{
		Name: "slow start without a unit", JSON: `{"slowStart":30}`,
		Want: `slowStart: got 30, want a duration in quotes, such as "30s"`,
	},
	{Name: "newline", JSON: `{"schedule":"a\nb"}`, Want: `schedule: got "a\nb", want "random" or "smooth"`},
}

func TestParseConfig_RefusesWithTheFieldAndWhatIsRight(t *testing.T) {
	policytest.RequireRefused(t, Name, badConfigs...)
}

func TestParseConfig_DefaultsAndUnknownFields(t *testing.T) {
	policytest.RequireSame(t, Name, `{"schedule":"random"}`, `{}`, `null`, ``, ` `, `{"schedule":null}`, `{"later":[1]}`,
		`{"zonePreference":"on"}`, `{"zonePreference":null}`, `{"slowStart":"0s"}`)
	policytest.RequireSame(t, Name, `{"schedule":"smooth"}`, `{"schedule":"smooth","later":{}}`)
	for _, other := range []string{`{"schedule":"smooth"}`, `{"zonePreference":"off"}`, `{"slowStart":"30s"}`} {
		require.NotEqual(t, policytest.Read(t, Name, `{}`), policytest.Read(t, Name, other))
	}
}

func TestConfig_ServiceConfigIsTakenByGRPC(t *testing.T) {
	policytest.RequireServiceConfig(t, Name, Config{}.ServiceConfig(), `{}`)
	policytest.RequireServiceConfig(t, Name, Config{Schedule: Random}.ServiceConfig(), `{"schedule":"random"}`)
	policytest.RequireServiceConfig(t, Name, Config{Schedule: Smooth}.ServiceConfig(), `{"schedule":"smooth"}`)
	policytest.RequireServiceConfig(t, Name,
		Config{ZonePreference: "off", SlowStart: balancers.Duration(90 * time.Second)}.ServiceConfig(),
		`{"zonePreference":"off","slowStart":"1m30s"}`)
}

func TestNewPickerBuilder_PickersReturnTheRefusal(t *testing.T) {
	picker := NewPickerBuilder(Config{Schedule: "wrr"}).Build(policytest.BuildInfo(policytest.Alike(2)...))
	policytest.RequireBuildersRefusal(t, Name, picker, `schedule: got "wrr", want "random" or "smooth"`)
}

func FuzzParseConfig(f *testing.F) {
	policytest.FuzzParse(f, Name, defaults, func(t *testing.T, cfg Config) {
		require.Contains(t, []string{Random, Smooth}, cfg.Schedule)
		require.Contains(t, []string{"on", "off"}, cfg.ZonePreference)
		require.LessOrEqual(t, cfg.SlowStartWindow(), time.Hour)
	}, append(policytest.Texts(badConfigs), `{"schedule":"smooth"}`, `{"SCHEDULE":"random","a":1}`, `{"slowStart":"90s","zonePreference":"off"}`)...)
}
