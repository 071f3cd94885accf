package etcdregistry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/steelyard-go/steelyard/attrs"
)

const (
	// reserved is the first part of the keys that are no instances.
	reserved       = "steelyard"
	overridesUnder = reserved + "/overrides/"
	configsUnder   = reserved + "/config/"

	reasonField = "reason"
	maxReason   = 200 // bytes
)

// Override is what an operator says about one instance from outside. It stands
// under a key of its own (see [OverrideKey]), so the instance's own updates,
// restarts and lease do not touch it:
//
//	steelyard/overrides/payments/10.0.0.7:8080
//	{"weight":3,"reason":"half of the disks are gone"}
//
// [SetOverride] with a limit adds a field "lease", which names the lease that it took for
// this key alone.
//
// The zero Override says nothing.
type Override struct {
	// Weight replaces the instance's weight, 0 leaves it. At most
	// [attrs.MaxWeight]. In etcd the weight 0 means draining, as it does in an
	// instance.
	Weight uint32
	// Draining takes the instance out of service. false does not bring back an
	// instance that drains by itself.
	Draining bool
	// Reason is free text for the log, at most 200 bytes.
	Reason string
}

// OverridePrefix returns the prefix of the keys of a service's overrides. Only
// direct children count: what follows the prefix is an ID, without a slash.
func OverridePrefix(service string) string {
	return overridesUnder + service + "/"
}

// OverrideKey returns the key of the override of one instance. It checks nothing;
// [SetOverride] does.
func OverrideKey(service, id string) string {
	return OverridePrefix(service) + id
}

// ConfigKey returns the key under which a service's gRPC service config stands, as
// JSON, unless the reader was told another.
func ConfigKey(service string) string {
	return configsUnder + service
}

// Apply returns what counts for an instance that says a: the override's weight if it
// has one, and draining if either of them drains.
func (o Override) Apply(a attrs.Attrs) attrs.Attrs {
	if o.Weight > 0 {
		a.Weight = o.Weight
	}
	a.Draining = a.Draining || o.Draining
	return a
}

// EncodeOverride returns the value that stands for o in etcd. It fails for an
// override that says nothing, a weight above [attrs.MaxWeight], and a reason that is
// too long or not UTF-8.
func EncodeOverride(o Override) (string, error) {
	encoded, err := encodeOverride(o, 0)
	if err != nil {
		return "", fmt.Errorf("etcdregistry: override: %w", err)
	}
	return encoded, nil
}

// encodeOverride leaves out a lease that is 0.
func encodeOverride(o Override, own clientv3.LeaseID) (string, error) {
	if err := o.check(); err != nil {
		return "", err
	}
	return compactJSON(struct {
		Weight   uint32 `json:"weight,omitempty"`
		Draining bool   `json:"draining,omitempty"`
		Reason   string `json:"reason,omitempty"`
		Lease    string `json:"lease,omitempty"`
	}{o.Weight, o.Draining, o.Reason, leaseText(own)})
}

func (o Override) check() error {
	switch {
	case o.Weight == 0 && !o.Draining:
		return errors.New("it says nothing, want a weight or draining; to end an override, lift it")
	case o.Weight > attrs.MaxWeight:
		return fmt.Errorf("weight: got %d, want at most %d", o.Weight, attrs.MaxWeight)
	case !utf8.ValidString(o.Reason):
		return fmt.Errorf("reason: %s is not UTF-8", cut(o.Reason))
	case len(o.Reason) > maxReason:
		return fmt.Errorf("reason: got %d bytes, want at most %d", len(o.Reason), maxReason)
	}
	return nil
}

// leaseText writes a lease as etcdctl does, "" for none.
func leaseText(id clientv3.LeaseID) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", int64(id))
}

// ownLease returns the lease that was granted for an override alone, 0 for none. One
// that was put by hand may share its lease with keys that we cannot see: etcd's
// namespace package hides those outside.
func ownLease(override *mvccpb.KeyValue) clientv3.LeaseID {
	under := clientv3.LeaseID(override.Lease)
	var said struct {
		Lease string `json:"lease"`
	}
	if json.Unmarshal(override.Value, &said) != nil || said.Lease != leaseText(under) {
		return 0
	}
	return under
}

// DecodeOverride reads the value of an override that stands in etcd under key: a
// JSON object with any of the fields "weight" (a number or a numeric string, 0 means
// draining), "draining" (a boolean or one of the strings "true" and "false") and
// "reason". Other fields are ignored, as is a field that is null; a long reason is
// cut. An object that says nothing is good: it changes nothing.
//
// Values are not trusted: DecodeOverride refuses what is above [MaxValueSize], is no
// object, or has a field out of range or of the wrong type. The error is one line
// that names the key.
func DecodeOverride(key string, value []byte) (Override, error) {
	o, err := decodeOverride(value)
	if err != nil {
		return Override{}, fmt.Errorf("etcd key %s: override: %w", cutTo(key, maxShownKey), err)
	}
	return o, nil
}

func decodeOverride(raw []byte) (Override, error) {
	if err := checkSize(len(raw)); err != nil {
		return Override{}, err
	}
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return Override{}, fmt.Errorf(`got %s, want {"weight":3} or {"draining":true}`, cut(string(raw)))
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return Override{}, badJSON("value", raw, err)
	}
	var said attrs.Attrs
	for _, name := range []string{weightField, drainingField} {
		if text := fields[name]; text != nil && string(text) != "null" {
			if err := decodeField(&said, name, string(text)); err != nil {
				return Override{}, err
			}
		}
	}
	var reason string
	if text := fields[reasonField]; text != nil {
		if err := json.Unmarshal(text, &reason); err != nil {
			return Override{}, fmt.Errorf("reason: got %s, want a string", cut(string(text)))
		}
	}
	if len(reason) > maxReason {
		reason = strings.ToValidUTF8(reason[:maxReason], "")
	}
	return Override{Weight: said.Weight, Draining: said.Draining, Reason: reason}, nil
}
