package roundrobin_test

import (
	"testing"

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
	policytest.FuzzParse(f, roundrobin.Name, roundrobin.Config{}, func(*testing.T, roundrobin.Config) {})
}
