package balancers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/steelyard-go/steelyard/attrs"
)

// NewPickerBuilder adapts a policy to gRPC's base balancer vocabulary: its
// pickers can then be built from a [base.PickerBuildInfo], of fake SubConns in
// a unit test for one, or be used with [base.NewBalancerBuilder]. Fields that
// cfg leaves at zero take their defaults; a config that the policy refuses
// makes pickers that return the refusal.
//
// It is the thin way in: each Build starts with no memory of the one before,
// since nothing tells one channel's builds from another's, and of the frame's
// promises only those hold that base keeps.
func NewPickerBuilder[C any](name string, cfg, defaults C, newPolicy func() Policy[C]) base.PickerBuilder {
	text, err := json.Marshal(cfg)
	if err != nil {
		err = fmt.Errorf("%s: config has no JSON form: %w", name, err)
	} else {
		cfg, err = parse(name, defaults, text)
	}
	if err != nil {
		return pickerBuilder(func(Snapshot) balancer.Picker { return base.NewErrPicker(err) })
	}
	return pickerBuilder(func(s Snapshot) balancer.Picker { return newPolicy()(cfg, s) })
}

type pickerBuilder func(Snapshot) balancer.Picker

// Build implements [base.PickerBuilder].
func (build pickerBuilder) Build(info base.PickerBuildInfo) balancer.Picker {
	if len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	all := make([]Backend, 0, len(info.ReadySCs))
	for sc, sci := range info.ReadySCs {
		at := attrs.FromAddress(sci.Address)
		at.Weight = max(at.Weight, 1)
		all = append(all, Backend{SubConn: sc, Address: sci.Address, Attrs: at, Load: new(Load), Ramp: fullRamp})
	}
	slices.SortFunc(all, func(a, b Backend) int { return strings.Compare(a.Address.Addr, b.Address.Addr) })
	s := Snapshot{Members: all, Context: context.Background()}
	s.sortOut(false)
	return build(s)
}
