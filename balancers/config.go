package balancers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/serviceconfig"
)

// ServiceConfig returns the service config JSON that chooses the policy name
// with config cfg, for [grpc.WithDefaultServiceConfig]. Fields that cfg omits
// (omitempty) keep the policy's defaults. It panics if cfg has no JSON form.
//
// [grpc.WithDefaultServiceConfig]: https://pkg.go.dev/google.golang.org/grpc#WithDefaultServiceConfig
func ServiceConfig(name string, cfg any) string {
	sc := map[string]any{"loadBalancingConfig": []any{map[string]any{name: cfg}}}
	text, err := json.Marshal(sc)
	if err != nil {
		panic(fmt.Sprintf("%s: config has no JSON form: %v", name, err))
	}
	return string(text)
}

// Duration is a time.Duration in a policy's config. In JSON it is a string such
// as "30s" or "1m30s".
type Duration time.Duration

// MarshalJSON writes the duration as gRPC's own configs do, in seconds.
func (d Duration) MarshalJSON() ([]byte, error) {
	return json.Marshal(strconv.FormatFloat(time.Duration(d).Seconds(), 'f', -1, 64) + "s")
}

// UnmarshalJSON reads what [time.ParseDuration] can.
func (d *Duration) UnmarshalJSON(text []byte) error {
	var s string
	err := json.Unmarshal(text, &s)
	if err == nil {
		var parsed time.Duration
		parsed, err = time.ParseDuration(s)
		*d = Duration(parsed)
	}
	if err != nil { // of a type to which the decoder adds the field
		return &json.UnmarshalTypeError{Value: string(text), Type: reflect.TypeFor[Duration]()}
	}
	return nil
}

// parsed is a policy's config as gRPC carries it from ParseConfig to the
// balancer.
type parsed[C any] struct {
	serviceconfig.LoadBalancingConfig
	name string // of the policy it was parsed for; C alone would not tell
	cfg  C
	text json.RawMessage
}

// MarshalJSON returns the text that was parsed. Some parents, such as
// random_subsetting_experimental, write their child's config out again and have
// it parsed once more on the way down.
func (p *parsed[C]) MarshalJSON() ([]byte, error) { return p.text, nil }

// parse reads a policy's JSON over a copy of its defaults. Errors name the
// policy and the field. Unknown fields are ignored, as gRPC requires for the
// sake of later versions; no JSON at all, or null, is the defaults.
func parse[C any](name string, defaults C, text json.RawMessage) (C, error) {
	cfg := defaults
	if len(bytes.TrimSpace(text)) > 0 {
		if err := json.Unmarshal(text, &cfg); err != nil {
			return defaults, fmt.Errorf("%s: %w", name, explain(err))
		}
	}
	if err := validate(&cfg); err != nil {
		return defaults, fmt.Errorf("%s: %w", name, err)
	}
	return cfg, nil
}

func validate(cfg any) error {
	if v, ok := cfg.(interface{ Validate() error }); ok {
		if err := v.Validate(); err != nil {
			return err
		}
	}
	return checkSlowStart(slowStartOf(cfg))
}

// explain says what is wrong with the JSON in the terms of the one who wrote it.
func explain(err error) error {
	var wrongType *json.UnmarshalTypeError
	if !errors.As(err, &wrongType) {
		return fmt.Errorf("config is not valid JSON: %w", err)
	}
	want := kindName(wrongType)
	if wrongType.Field == "" {
		return fmt.Errorf("config: got %.60s, want a JSON object", wrongType.Value)
	}
	return fmt.Errorf("%s: got %.60s, want %s", wrongType.Field, wrongType.Value, want)
}

func kindName(e *json.UnmarshalTypeError) string {
	switch k := e.Type.Kind().String(); {
	case e.Type == reflect.TypeFor[Duration]():
		return `a duration in quotes, such as "30s"`
	case k == "string", k == "bool":
		return "a " + k
	case len(k) >= 5 && k[:5] == "float":
		if strings.HasPrefix(e.Value, "number") {
			return "a number in range"
		}
		return "a number"
	case len(k) >= 3 && k[:3] == "int", len(k) >= 4 && k[:4] == "uint":
		return "a whole number in range"
	default:
		return "a " + k
	}
}
