package roundrobin_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers"
	"github.com/steelyard-go/steelyard/balancers/roundrobin"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

var badConfigs = []policytest.Refused{
	{Name: "unknown preference", JSON: `{"zonePreference":"x"}`, Want: `zonePreference: got "x", want "on" or "off"`},
	{Name: "empty preference", JSON: `{"zonePreference":""}`, Want: `zonePreference: got "", want "on" or "off"`},
	{Name: "preference as a bool", JSON: `{"zonePreference":false}`, Want: "zonePreference: got bool, want a string"},
	{
		Name: "long slow start", JSON: `{"slowStart":"61m"}`,
		Want: `slowStart: got "1h1m0s", want "100ms" to "1h0m0s", or "0s" for none`,
	},
	{
		Name: "slow start that is no duration", JSON: `{"slowStart":"soon"}`,
		Want: `slowStart: got "soon", want a duration in quotes, such as "30s"`,
	},
}

func TestParseConfig_RefusesWithTheFieldAndWhatIsRight(t *testing.T) {
	policytest.RequireRefused(t, roundrobin.Name, badConfigs...)
}

func TestParseConfig_DefaultsAndUnknownFields(t *testing.T) {
	policytest.RequireSame(t, roundrobin.Name, `{}`, `null`, ``, " \n", `{"later": {"than": ["us"]}}`,
		`{"zonePreference":"on"}`, `{"slowStart":"0s"}`)
	for _, other := range []string{`{"zonePreference":"off"}`, `{"slowStart":"30s"}`} {
		require.NotEqual(t, policytest.Read(t, roundrobin.Name, `{}`), policytest.Read(t, roundrobin.Name, other))
	}
}

func TestConfig_ServiceConfigIsTakenByGRPC(t *testing.T) {
	policytest.RequireServiceConfig(t, roundrobin.Name, roundrobin.Config{}.ServiceConfig(), `{}`)
	policytest.RequireServiceConfig(t, roundrobin.Name,
		roundrobin.Config{ZonePreference: "off", SlowStart: balancers.Duration(time.Minute)}.ServiceConfig(),
		`{"zonePreference":"off","slowStart":"1m"}`)
}

func TestNewPickerBuilder_PickersReturnTheRefusal(t *testing.T) {
	picker := roundrobin.NewPickerBuilder(roundrobin.Config{ZonePreference: "x"}).Build(policytest.BuildInfo(policytest.Alike(2)...))
	policytest.RequireBuildersRefusal(t, roundrobin.Name, picker, badConfigs[0].Want)
}

func FuzzParseConfig(f *testing.F) {
	defaults := roundrobin.Config{ZonePreference: "on"}
	policytest.FuzzParse(f, roundrobin.Name, defaults, func(t *testing.T, cfg roundrobin.Config) {
		require.Contains(t, []string{"on", "off"}, cfg.ZonePreference)
		require.LessOrEqual(t, cfg.SlowStartWindow(), time.Hour)
	}, append(policytest.Texts(badConfigs), `{"slowStart":"90s","zonePreference":"off"}`)...)
}
