package consistenthash

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/internal/policytest"
)

const (
	wantHeader = "want a header name of letters, digits, '-', '_' and '.', not starting with grpc-"
	wantText   = "want a text header: those that end in -bin are binary"
	wantFactor = "want 0 for no bound, or 1 to 1000"
)

var badConfigs = []policytest.Refused{
	{Name: "binary header", JSON: `{"requestHashHeader":"x-key-bin"}`, Want: `requestHashHeader: got "x-key-bin", ` + wantText},
	{Name: "binary header in capitals", JSON: `{"requestHashHeader":"X-Key-BIN"}`, Want: `requestHashHeader: got "X-Key-BIN", ` + wantText},
	{Name: "header of gRPC", JSON: `{"requestHashHeader":"grpc-timeout"}`, Want: `requestHashHeader: got "grpc-timeout", ` + wantHeader},
	{Name: "pseudo header", JSON: `{"requestHashHeader":":authority"}`, Want: `requestHashHeader: got ":authority", ` + wantHeader},
	{Name: "space", JSON: `{"requestHashHeader":"x user"}`, Want: `requestHashHeader: got "x user", ` + wantHeader},
	{Name: "space around", JSON: `{"requestHashHeader":" x-user"}`, Want: `requestHashHeader: got " x-user", ` + wantHeader},
	{Name: "newline", JSON: `{"requestHashHeader":"x\nuser"}`, Want: `requestHashHeader: got "x\nuser", ` + wantHeader},
	{Name: "not ASCII", JSON: `{"requestHashHeader":"x-schlüssel"}`, Want: `requestHashHeader: got "x-schlüssel", ` + wantHeader},
	{Name: "Kelvin sign, a k in lower case", JSON: `{"requestHashHeader":"x-\u212aey"}`, Want: `requestHashHeader: got "x-Key", ` + wantHeader},
	{Name: "header number", JSON: `{"requestHashHeader":7}`, Want: "requestHashHeader: got number, want a string"},
	{Name: "header list", JSON: `{"requestHashHeader":["x-user-id"]}`, Want: "requestHashHeader: got array, want a string"},
	{
		Name: "long header", JSON: `{"requestHashHeader":"` + strings.Repeat("x", 1000) + ` "}`,
		Want: `requestHashHeader: got "` + strings.Repeat("x", 80) + `", ` + wantHeader,
	},
	{Name: "unknown onMissingKey", JSON: `{"onMissingKey":"first"}`, Want: `onMissingKey: got "first", want "random" or "fail"`},
	{Name: "empty onMissingKey", JSON: `{"onMissingKey":""}`, Want: `onMissingKey: got "", want "random" or "fail"`},
	{Name: "onMissingKey bool", JSON: `{"onMissingKey":false}`, Want: "onMissingKey: got bool, want a string"},
	{Name: "factor below one", JSON: `{"boundedLoadFactor":0.99}`, Want: "boundedLoadFactor: got 0.99, " + wantFactor},
	{Name: "negative factor", JSON: `{"boundedLoadFactor":-1}`, Want: "boundedLoadFactor: got -1, " + wantFactor},
	{Name: "tiny factor", JSON: `{"boundedLoadFactor":1e-300}`, Want: "boundedLoadFactor: got 1e-300, " + wantFactor},
	{Name: "factor too large", JSON: `{"boundedLoadFactor":1000.5}`, Want: "boundedLoadFactor: got 1000.5, " + wantFactor},
	{Name: "factor beyond a float", JSON: `{"boundedLoadFactor":1e999}`, Want: "boundedLoadFactor: got number 1e999, want a number in range"},
	{Name: "factor text", JSON: `{"boundedLoadFactor":"1.25"}`, Want: "boundedLoadFactor: got string, want a number"},
	{Name: "NaN", JSON: `{"boundedLoadFactor":NaN}`, Want: "config is not valid JSON: invalid character 'N' looking for beginning of value"},
}

func TestParseConfig_RefusesWithTheFieldAndWhatIsRight(t *testing.T) {
	policytest.RequireRefused(t, Name, badConfigs...)
}

func TestParseConfig_RefusalOfALongNumberFitsALine(t *testing.T) {
	_, err := policytest.Parse(Name, `{"boundedLoadFactor":`+strings.Repeat("9", 10_000)+`}`)
	policytest.RequireRefusalFitsALine(t, err)
}

func TestParseConfig_DefaultsAndUnknownFields(t *testing.T) {
	policytest.RequireSame(t, Name, `{"requestHashHeader":"","onMissingKey":"random","boundedLoadFactor":0}`,
		`{}`, `null`, ``, "\t", `{"boundedLoadFactor":null}`, `{"onMissingKey":"random"}`, `{"minRingSize":1024}`)
	for _, other := range []string{`{"requestHashHeader":"k"}`, `{"onMissingKey":"fail"}`, `{"boundedLoadFactor":1}`} {
		require.NotEqual(t, policytest.Read(t, Name, `{}`), policytest.Read(t, Name, other))
	}
}

func TestParseConfig_TakesTheEdgesOfTheRanges(t *testing.T) {
	for _, config := range []string{
		`{"boundedLoadFactor":1}`, `{"boundedLoadFactor":1000}`, `{"boundedLoadFactor":1.0000001}`, `{"boundedLoadFactor":-0}`,
		`{"requestHashHeader":"X-User_ID.2"}`, `{"requestHashHeader":"bin"}`, `{"requestHashHeader":"x-binary"}`, `{"requestHashHeader":"grpc"}`,
	} {
		_, err := policytest.Parse(Name, config)
		require.NoError(t, err, config)
	}
}

func TestConfig_ServiceConfigIsTakenByGRPC(t *testing.T) {
	policytest.RequireServiceConfig(t, Name, Config{}.ServiceConfig(), `{}`)
	policytest.RequireServiceConfig(t, Name,
		Config{RequestHashHeader: "X-User-ID", OnMissingKey: Fail, BoundedLoadFactor: 1.25}.ServiceConfig(),
		`{"requestHashHeader":"X-User-ID","onMissingKey":"fail","boundedLoadFactor":1.25}`)
}

func TestNewPickerBuilder_PickersReturnTheRefusal(t *testing.T) {
	info := policytest.BuildInfo(policytest.Alike(2)...)
	for want, cfg := range map[string]Config{
		`requestHashHeader: got "x-bin", ` + wantText:              {RequestHashHeader: "x-bin"},
		`onMissingKey: got "first", want "random" or "fail"`:       {OnMissingKey: "first"},
		"boundedLoadFactor: got 0.5, " + wantFactor:                {BoundedLoadFactor: 0.5},
		"boundedLoadFactor: got 1001, " + wantFactor:               {BoundedLoadFactor: 1001},
		"boundedLoadFactor: got 2000, want 0 for no bound, or 1 t": {BoundedLoadFactor: 2000},
	} {
		policytest.RequireBuildersRefusal(t, Name, NewPickerBuilder(cfg).Build(info), want)
	}
}

// A factor that has no JSON form is refused like any other bad one.
func TestNewPickerBuilder_RefusesAFactorThatIsNoNumber(t *testing.T) {
	info := policytest.BuildInfo(policytest.Alike(2)...)
	for _, factor := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		policytest.RequireBuildersRefusal(t, Name, NewPickerBuilder(Config{BoundedLoadFactor: factor}).Build(info), "unsupported value")
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, ``, `[]`, `{`, `{"requestHashHeader":"X-User-ID","onMissingKey":"fail","boundedLoadFactor":1.25}`,
		`{"REQUESTHASHHEADER":"k"}`, `{"boundedLoadFactor":-0.0}`, `{"boundedLoadFactor":999.9999999999999}`,
	} {
		f.Add(seed)
	}
	for _, bad := range badConfigs {
		f.Add(bad.JSON)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := policytest.Parse(Name, text); err != nil {
			policytest.RequireRefusalFitsALine(t, err)
			return
		}
		cfg := defaults
		if strings.TrimSpace(text) != "" {
			require.NoError(t, json.Unmarshal([]byte(text), &cfg))
		}
		require.False(t, strings.HasSuffix(strings.ToLower(cfg.RequestHashHeader), "-bin"))
		require.False(t, strings.ContainsFunc(cfg.RequestHashHeader, func(r rune) bool { return r <= ' ' || r > '~' }))
		require.Contains(t, []string{Random, Fail}, cfg.OnMissingKey)
		if cfg.BoundedLoadFactor != 0 {
			require.GreaterOrEqual(t, cfg.BoundedLoadFactor, 1.0)
			require.LessOrEqual(t, cfg.BoundedLoadFactor, 1000.0)
		}
		if math.Signbit(cfg.BoundedLoadFactor) {
			return // -0, which is no bound either and only prints otherwise
		}
		policytest.RequireSame(t, Name, text, policytest.PolicyConfig(t, Name, cfg.ServiceConfig()))
	})
}
