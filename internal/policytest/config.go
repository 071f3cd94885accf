package policytest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/serviceconfig"
)

// Parse reads a policy's config the way gRPC does.
func Parse(policy, text string) (serviceconfig.LoadBalancingConfig, error) {
	parser, ok := balancer.Get(policy).(balancer.ConfigParser)
	if !ok {
		return nil, fmt.Errorf("%s takes no config", policy)
	}
	return parser.ParseConfig(json.RawMessage(text))
}

// Refused is a config that a policy must refuse.
type Refused struct {
	Name string
	JSON string
	Want string // the message after the policy's name
}

// RequireRefused checks that policy refuses each config with the message that
// is wanted, and those that no policy can take.
func RequireRefused(t *testing.T, policy string, cases ...Refused) {
	t.Helper()
	for _, tc := range append([]Refused{
		{"array", `[]`, "config: got array, want a JSON object"},
		{"string", `"random"`, "config: got string, want a JSON object"},
		{"number", `7`, "config: got number, want a JSON object"},
		{"bool", `true`, "config: got bool, want a JSON object"},
		{"truncated", `{"a":`, "config is not valid JSON: unexpected end of JSON input"},
		{"not JSON", `choices: 2`, "config is not valid JSON: invalid character 'c' looking for beginning of value"},
		{"two objects", `{} {}`, "config is not valid JSON: invalid character '{' after top-level value"},
	}, cases...) {
		t.Run(tc.Name, func(t *testing.T) {
			config, err := Parse(policy, tc.JSON)
			require.EqualError(t, err, policy+": "+tc.Want)
			require.Nil(t, config)
		})
	}
}

// RequireSame checks that policy takes all of the configs and reads the same
// out of them.
func RequireSame(t *testing.T, policy string, configs ...string) {
	t.Helper()
	want := Read(t, policy, configs[0])
	for _, text := range configs[1:] {
		require.Equalf(t, want, Read(t, policy, text), "config %q", text)
	}
}

// Read returns what policy reads out of a config that it must take, printed:
// the type that carries a config from ParseConfig to the policy is the frame's
// secret.
func Read(tb testing.TB, policy, text string) string {
	tb.Helper()
	config, err := Parse(policy, text)
	require.NoErrorf(tb, err, "config %q", text)
	cfg := reflect.ValueOf(config).Elem().FieldByName("cfg")
	require.Truef(tb, cfg.IsValid(), "%T has no field cfg any more", config)
	return fmt.Sprintf("%+v", cfg)
}

// PolicyConfig returns the policy's own part of a service config that chooses it.
func PolicyConfig(tb testing.TB, policy, serviceConfig string) string {
	tb.Helper()
	var sc struct {
		LoadBalancingConfig []map[string]json.RawMessage `json:"loadBalancingConfig"`
	}
	require.NoError(tb, json.Unmarshal([]byte(serviceConfig), &sc))
	require.Len(tb, sc.LoadBalancingConfig, 1)
	require.Contains(tb, sc.LoadBalancingConfig[0], policy)
	return string(sc.LoadBalancingConfig[0][policy])
}

// RequireServiceConfig checks that gRPC takes serviceConfig for a channel and
// that policy reads the same out of it as out of config.
func RequireServiceConfig(t *testing.T, policy, serviceConfig, config string) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///localhost:1",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultServiceConfig(serviceConfig))
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	RequireSame(t, policy, config, PolicyConfig(t, policy, serviceConfig))
}

// RequireBuildersRefusal checks that every pick returns the refusal of a bad
// config: one line that begins with the policy's name and says want.
func RequireBuildersRefusal(t *testing.T, policy string, picker balancer.Picker, want string) {
	t.Helper()
	for range 2 {
		result, err := picker.Pick(balancer.PickInfo{Ctx: t.Context()})
		require.ErrorContains(t, err, want)
		require.True(t, strings.HasPrefix(err.Error(), policy+": "), err)
		require.Nil(t, result.SubConn)
	}
}

// RequireRefusalFitsALine checks that an error does not carry a whole bad
// config into a log.
func RequireRefusalFitsALine(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotContains(t, err.Error(), "\n")
	require.Less(t, len(err.Error()), 400)
}

// FuzzParse is the body of a policy's fuzz target: whatever the text, parsing
// does not panic; what is refused is refused in a line; and what is accepted is
// in range and comes back the same by way of the config's ServiceConfig.
func FuzzParse[C interface{ ServiceConfig() string }](
	f *testing.F, policy string, defaults C, inRange func(t *testing.T, cfg C), seeds ...string,
) {
	f.Helper()
	for _, seed := range append(seeds, `{}`, `null`, ``, `[]`, `{`, `{"a":1}`) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := Parse(policy, text); err != nil {
			RequireRefusalFitsALine(t, err)
			return
		}
		cfg := defaults
		if strings.TrimSpace(text) != "" {
			require.NoError(t, json.Unmarshal([]byte(text), &cfg))
		}
		inRange(t, cfg)
		RequireSame(t, policy, text, PolicyConfig(t, policy, cfg.ServiceConfig()))
	})
}

// Texts returns the texts of the cases, as seeds.
func Texts(cases []Refused) []string {
	texts := make([]string, len(cases))
	for i, c := range cases {
		texts[i] = c.JSON
	}
	return texts
}
