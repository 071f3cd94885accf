package etcdresolver

import (
	"time"

	"google.golang.org/grpc/experimental/stats"
	"google.golang.org/grpc/resolver"
)

// What belongs to a channel goes to gRPC's own metrics, which its OpenTelemetry
// plugin exports with the channel's other metrics. What channels share is in
// [Builder.Stats].
var (
	updates = stats.RegisterInt64Count(stats.MetricDescriptor{
		Name:        "steelyard.resolver.updates",
		Description: "Lists that the etcd resolver gave to the channel.",
		Unit:        "{update}",
		Labels:      []string{"grpc.target"},
		Default:     true,
	})
	updateDelay = stats.RegisterFloat64Histo(stats.MetricDescriptor{
		Name:        "steelyard.resolver.update_delay",
		Description: "Time from an event of etcd until the channel's policy had the list with it.",
		Unit:        "s",
		Labels:      []string{"grpc.target"},
		Default:     true,
		Bounds:      []float64{.005, .01, .02, .03, .05, .1, .2, .3, .5, 1, 2, 5, 10},
	})
	endpoints = stats.RegisterInt64Gauge(stats.MetricDescriptor{
		Name:        "steelyard.resolver.endpoints",
		Description: "Endpoints in the channel's list.",
		Unit:        "{endpoint}",
		Labels:      []string{"grpc.target"},
		Default:     true,
	})
	heldEndpoints = stats.RegisterInt64Gauge(stats.MetricDescriptor{
		Name:        "steelyard.resolver.held_endpoints",
		Description: "Endpoints in the channel's list that left etcd and are held by a guard.",
		Unit:        "{endpoint}",
		Labels:      []string{"grpc.target"},
		Default:     true,
	})
)

// meter counts what goes to one channel.
type meter struct {
	service  *service
	target   string
	recorder stats.MetricsRecorder // nil when there is none
}

func newMeter(s *service, target resolver.Target, recorder stats.MetricsRecorder) meter {
	return meter{service: s, target: target.String(), recorder: recorder}
}

// updated notes an UpdateState, of which etcd told at heard, zero if it did not.
func (m *meter) updated(heard time.Time) {
	var delay time.Duration
	if !heard.IsZero() {
		delay = time.Since(heard)
	}
	m.service.deliveries.note(delay)
	if m.recorder == nil {
		return
	}
	updates.Record(m.recorder, 1, m.target)
	if !heard.IsZero() {
		updateDelay.Record(m.recorder, delay.Seconds(), m.target)
	}
}

// holds notes what the channel has.
func (m *meter) holds(o *outcome) {
	if m.recorder != nil {
		endpoints.Record(m.recorder, int64(len(o.list)), m.target)
		heldEndpoints.Record(m.recorder, int64(o.held), m.target)
	}
}
