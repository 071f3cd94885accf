package etcdregistry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/steelyard-go/steelyard/attrs"
)

// MaxValueSize is the largest value, in bytes, that [Encode] writes and [Decode]
// reads. It bounds the number and the size of the labels too.
const MaxValueSize = 64 << 10

// The keys of Metadata that have a meaning; every other key is a label.
const (
	weightField   = "weight"
	zoneField     = "zone"
	drainingField = "draining"
	// Who wrote the value, see owner. Not for the readers of the list: a server that
	// restarts is the same instance.
	ownerField   = "steelyard.owner"
	startedField = "steelyard.started"
)

// Instance is one server of a service: Instance{Addr: "10.0.0.7:8080"} is complete.
type Instance struct {
	// ID tells the instances of a service apart. It is the last part of the key,
	// never part of the value, and must not contain a slash; "" means Addr.
	ID string
	// Addr is the host:port that clients dial. The host is an IP address (IPv6 in
	// brackets) or a DNS name, the port a number from 1 to 65535.
	Addr string
	// Attrs are what the policies go by: weight, zone, drain mark, labels.
	attrs.Attrs
}

// Key returns the key "<service>/<id>", under which an instance stands. It checks
// nothing; [Register] does.
func Key(service, id string) string {
	return service + "/" + id
}

// value is what stands in etcd, compatible with etcd's own naming package.
type value struct {
	Op       int
	Addr     string
	Metadata any
}

// Encode returns the value that stands for inst in etcd. A Weight of 0 is left out,
// because in etcd the weight 0 means draining. Encode fails for what [Decode] would
// not give back as it was: a bad address, a weight above [attrs.MaxWeight], text
// that is not UTF-8, a label with the name of a field ("weight", "zone", "draining",
// "steelyard.owner", "steelyard.started"), and a result above [MaxValueSize].
func Encode(inst Instance) (string, error) {
	encoded, err := encode(inst, owner{})
	if err != nil {
		return "", fmt.Errorf("etcdregistry: %w", err)
	}
	return encoded, nil
}

// encode leaves out an owner without an id, and a start that is not said.
func encode(inst Instance, by owner) (string, error) {
	if err := checkAddr(inst.Addr); err != nil {
		return "", err
	}
	metadata, err := encodeAttrs(inst.Attrs)
	if err != nil {
		return "", err
	}
	if by.id != "" {
		metadata[ownerField] = by.id
		if !by.started.IsZero() {
			metadata[startedField] = by.started.Format(startedLayout)
		}
	}
	encoded, err := compactJSON(value{Addr: inst.Addr, Metadata: metadata})
	if err != nil {
		return "", err
	}
	if err := checkSize(len(encoded)); err != nil {
		return "", fmt.Errorf("%w: use fewer or shorter labels", err)
	}
	return encoded, nil
}

func encodeAttrs(a attrs.Attrs) (map[string]any, error) {
	if a.Weight > attrs.MaxWeight {
		return nil, fmt.Errorf("weight: got %d, want at most %d", a.Weight, attrs.MaxWeight)
	}
	if !utf8.ValidString(a.Zone) {
		return nil, fmt.Errorf("zone: %s is not UTF-8", cut(a.Zone))
	}
	metadata := map[string]any{drainingField: a.Draining}
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		switch text := a.Labels[name]; {
		case name == weightField, name == zoneField, name == drainingField:
			return nil, fmt.Errorf("label %q is reserved: set the field of attrs.Attrs instead", name)
		case name == ownerField, name == startedField:
			return nil, fmt.Errorf("label %q is reserved: it says which registration wrote the value", name)
		case !utf8.ValidString(name) || !utf8.ValidString(text):
			return nil, fmt.Errorf("label %s: %s is not UTF-8", cut(name), cut(text))
		default:
			metadata[name] = text
		}
	}
	if a.Weight > 0 {
		metadata[weightField] = a.Weight
	}
	if a.Zone != "" {
		metadata[zoneField] = a.Zone
	}
	return metadata, nil
}

// Decode reads the value that stands in etcd under key: the JSON that [Encode] and
// etcd's own naming package write, or a bare host:port. The ID is what follows the
// key's last slash.
//
// The weight may be a number or a numeric string; 0 means draining. The drain mark
// may be a boolean or one of the strings "true" and "false". Metadata that is
// absent, null or no object says nothing, and neither does a field that is null.
// "steelyard.owner" and "steelyard.started" are skipped, whatever they hold. Every
// other field becomes a label: strings as they are, anything else as its compact JSON
// text.
//
// Values are not trusted. Decode refuses one above [MaxValueSize], bad JSON, an Op
// other than 0, an address that cannot be dialled (empty, without a port, an
// unspecified host such as 0.0.0.0, a port outside 1 to 65535), a weight that is no
// whole number from 0 to [attrs.MaxWeight], and a zone or drain mark of the wrong
// type. The error is one line that names the key.
func Decode(key string, value []byte) (Instance, error) {
	return DecodeLike(key, value, attrs.Attrs{})
}

// DecodeLike is [Decode] for one of many instances that say nearly the same, such as
// like: where value has the labels of like the result shares that map, which spares much
// of the time and most of the memory. It does so for values as [Encode] writes them that
// are printable ASCII without escapes, with at most 16 fields of metadata.
func DecodeLike(key string, value []byte, like attrs.Attrs) (Instance, error) {
	inst, err := decode(value, like)
	if err != nil {
		return Instance{}, fmt.Errorf("etcd key %s: %w", cutTo(key, maxShownKey), err)
	}
	inst.ID = key[strings.LastIndexByte(key, '/')+1:]
	return inst, nil
}

func decode(raw []byte, like attrs.Attrs) (Instance, error) {
	if err := checkSize(len(raw)); err != nil {
		return Instance{}, err
	}
	raw = bytes.TrimSpace(raw)
	if !bytes.HasPrefix(raw, []byte("{")) {
		addr := string(raw)
		if err := checkAddr(addr); err != nil {
			return Instance{}, fmt.Errorf(`value is neither host:port nor {"Op":0,"Addr":"host:port"}: %w`, err)
		}
		return Instance{Addr: addr}, nil
	}

	if inst, ok := decodePlain(raw, like.Labels); ok {
		return inst, nil
	}
	var metadata json.RawMessage
	update := value{Metadata: &metadata}
	if err := json.Unmarshal(raw, &update); err != nil {
		return Instance{}, badJSON("value", raw, err)
	}
	if update.Op != 0 {
		return Instance{}, fmt.Errorf("field Op: got %d, want 0", update.Op)
	}
	if err := checkAddr(update.Addr); err != nil {
		return Instance{}, err
	}
	decoded, err := decodeAttrs(metadata)
	return Instance{Addr: update.Addr, Attrs: decoded}, err
}

func decodeAttrs(metadata json.RawMessage) (attrs.Attrs, error) {
	if !bytes.HasPrefix(metadata, []byte("{")) {
		return attrs.Attrs{}, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(metadata, &fields); err != nil {
		return attrs.Attrs{}, badJSON("Metadata", metadata, err)
	}
	var a attrs.Attrs
	for name, text := range fields {
		if string(text) == "null" {
			continue
		}
		if err := decodeField(&a, name, string(text)); err != nil {
			return attrs.Attrs{}, err
		}
	}
	return a, nil
}

func decodeField(a *attrs.Attrs, name, text string) error {
	switch name {
	case weightField:
		weight, err := decodeWeight(text)
		if err != nil {
			return err
		}
		a.Weight = weight
		a.Draining = a.Draining || weight == 0
	case zoneField:
		zone, err := decodeText(text)
		if err != nil {
			return fmt.Errorf("zone: got %s, want a string", cut(text))
		}
		a.Zone = zone
	case drainingField:
		switch strings.Trim(text, `"`) {
		case "true":
			a.Draining = true
		case "false":
		default:
			return fmt.Errorf("draining: got %s, want true or false", cut(text))
		}
	case ownerField, startedField:
	default:
		if a.Labels == nil {
			a.Labels = make(map[string]string)
		}
		a.Labels[strings.Clone(name)] = labelText(text) // the name may be a part of the whole value
	}
	return nil
}

func decodeText(text string) (s string, err error) {
	if s, ok := plainText(text); ok {
		return s, nil
	}
	err = json.Unmarshal([]byte(text), &s)
	return s, err
}

func decodeWeight(text string) (uint32, error) {
	if weight, err := strconv.ParseUint(text, 10, 32); err == nil && isWhole(text) && weight <= attrs.MaxWeight {
		return uint32(weight), nil
	}
	var number json.Number // takes a number and a string that holds one
	err := json.Unmarshal([]byte(text), &number)
	if err == nil {
		var weight float64 // 5.0 and 1e3 are whole numbers too
		weight, err = number.Float64()
		if err == nil && weight >= 0 && weight <= attrs.MaxWeight && weight == float64(uint32(weight)) {
			return uint32(weight), nil
		}
	}
	return 0, fmt.Errorf("weight: got %s, want a whole number from 0 to %d", cut(text), attrs.MaxWeight)
}

// labelText returns a string as it is and anything else as compact JSON.
func labelText(text string) string {
	if label, err := decodeText(text); err == nil {
		return label
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(text)); err != nil {
		return "" // cannot be: text came out of valid JSON
	}
	// Unlike Unmarshal, Compact lets bytes through that are not UTF-8.
	return strings.ToValidUTF8(compact.String(), string(utf8.RuneError))
}
