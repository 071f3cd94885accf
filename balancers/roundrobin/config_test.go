package roundrobin_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/steelyard-go/steelyard/balancers/roundrobin"
	"github.com/steelyard-go/steelyard/internal/policytest"
)

func TestParseConfig_RefusesWhatIsNoObject(t *testing.T) {
	policytest.RequireRefused(t, roundrobin.Name)
}

func TestParseConfig_DefaultsAndUnknownFields(t *testing.T) {
	policytest.RequireSame(t, roundrobin.Name, `{}`, `null`, ``, " \n", `{"later": {"than": ["us"]}}`)
}

func TestConfig_ServiceConfigIsTakenByGRPC(t *testing.T) {
	policytest.RequireServiceConfig(t, roundrobin.Name, roundrobin.Config{}.ServiceConfig(), `{}`)
}

func FuzzParseConfig(f *testing.F) {
	for _, seed := range []string{`{}`, `null`, ``, `[]`, `{"a":1}`, `{`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		config, err := policytest.Parse(roundrobin.Name, text)
		if err != nil {
			policytest.RequireRefusalFitsALine(t, err)
			return
		}
		require.NotNil(t, config)
		var cfg roundrobin.Config
		if text != "" {
			_ = json.Unmarshal([]byte(text), &cfg)
		}
		policytest.RequireSame(t, roundrobin.Name, text, policytest.PolicyConfig(t, roundrobin.Name, cfg.ServiceConfig()))
	})
}
