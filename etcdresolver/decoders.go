package etcdresolver

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"
	"strings"

	"github.com/steelyard-go/steelyard/etcdregistry"
)

// The weights that kratos and kitex clients give an instance without one: servers
// with and without a weight keep their shares.
const (
	kratosWeight = 100
	kitexWeight  = 10
)

// weightField is the key of etcdregistry's metadata that holds the weight.
const weightField = "weight"

// DecodeGoZero reads what zRPC servers of zeromicro/go-zero put in etcd: the bare
// address, under the service's key and the number of a lease or the ID of the
// server's config.
//
//	payments.rpc/7587879482013480457  10.0.0.7:8080
//
//	etcd := etcdresolver.NewBuilder(client, etcdresolver.WithDecoder(etcdresolver.DecodeGoZero))
//	conn, err := grpc.NewClient("etcd:///payments.rpc", grpc.WithResolvers(etcd), ...)
//
// It is [etcdregistry.Decode], which reads a bare address as well as etcdregistry's
// own format: the clients moved, all of them, servers can follow one by one.
// go-zero knows no weight: all instances share alike.
//
// A server that listens on 0.0.0.0 registers the address of the environment
// variable POD_IP or of an interface. What go-zero leaves as it is, such as
// "[::]:8080", is refused.
func DecodeGoZero(key string, value []byte) (etcdregistry.Instance, error) {
	return etcdregistry.Decode(key, value)
}

// DecodeKratos reads what go-kratos/kratos v2 puts in etcd with its
// contrib/registry/etcd, for a channel without TLS (see [DecodeKratosTLS] for one
// with it): a service instance in JSON.
//
//	/microservices/payments/0b7a…  {"id":"0b7a…","name":"payments","version":"1.4.2","metadata":{"weight":"50"},
//	                                "endpoints":["http://10.0.0.7:8000","grpc://10.0.0.7:9000"]}
//
//	etcd := etcdresolver.NewBuilder(client, etcdresolver.WithDecoder(etcdresolver.DecodeKratos))
//	conn, err := grpc.NewClient("etcd:////microservices/payments", grpc.WithResolvers(etcd), ...)
//
// The fourth slash is the first of the key; with kratos' option Namespace("/prod")
// the target is etcd:////prod/payments.
//
// The first endpoint grpc://host:port counts, and an instance without one is
// refused: kratos' own clients pass it over.
//
// The metadata means what it means in [etcdregistry.Decode]: "weight", "zone" and
// "draining" are read, all else becomes labels, and so does the version. No weight
// counts as 100 and the weight 0 means draining, because a kratos client gives
// an instance 100 in the one case and no calls in the other. A weight that is no
// whole number from 0 to [attrs.MaxWeight] is refused, even one that is no number at
// all, which kratos passes over.
//
// Values in etcdregistry's own format are read too: the clients moved, all of them,
// servers can follow one by one under the same keys, with "/microservices/payments"
// for the service of [etcdregistry.Register]. Kratos v1 wrote another format, which is
// not read.
func DecodeKratos(key string, value []byte) (etcdregistry.Instance, error) {
	return decodeForeign(key, value, &kratosInstance{scheme: "grpc"})
}

// DecodeKratosTLS is [DecodeKratos] for a channel with TLS: the first endpoint
// grpcs://host:port counts, or grpc://host:port?isSecure=true as releases before
// v2.3.1 wrote it. Kratos' clients expect the service's name in the
// certificate; gRPC does so with grpc.WithAuthority("payments").
func DecodeKratosTLS(key string, value []byte) (etcdregistry.Instance, error) {
	return decodeForeign(key, value, &kratosInstance{scheme: "grpcs"})
}

// DecodeKitex reads what kitex-contrib/registry-etcd puts in etcd for servers of
// cloudwego/kitex: an instance in JSON. Such a server answers gRPC when its code
// was generated from a protobuf file.
//
//	kitex/registry-etcd/payments/10.0.0.7:8888  {"network":"tcp","address":"10.0.0.7:8888","weight":10,"tags":{"zone":"eu-1a"}}
//
//	etcd := etcdresolver.NewBuilder(client, etcdresolver.WithDecoder(etcdresolver.DecodeKitex))
//	conn, err := grpc.NewClient("etcd:///kitex/registry-etcd/payments", grpc.WithResolvers(etcd), ...)
//
// With registry-etcd's option WithEtcdServicePrefix("prod") the target is
// etcd:///prod/payments; servers that use its NewEtcdRegistryWithAuth have no
// prefix, from v0.2.3 on, and the target is etcd:////payments.
//
// A weight of 0 or less counts as 10, as it does for kitex clients: it never means
// draining. One above [attrs.MaxWeight] is refused. Of the tags "zone" and
// "draining" mean what they mean in [etcdregistry.Decode], "weight" is ignored, and all
// else becomes labels. A network other than TCP is refused, and so is an IPv6
// address, which registry-etcd writes without its brackets.
//
// Values in etcdregistry's own format are read too: the clients moved, all of them,
// servers can follow one by one under the same keys.
func DecodeKitex(key string, value []byte) (etcdregistry.Instance, error) {
	return decodeForeign(key, value, &kitexInstance{})
}

// foreign is the JSON of another framework. It says in etcdregistry's terms what it
// holds, so that only etcdregistry judges addresses, weights and labels.
type foreign interface {
	translate() (addr string, metadata map[string]string, err error)
}

// kratosInstance is kratos' registry.ServiceInstance.
type kratosInstance struct {
	Version   string            `json:"version"`
	Metadata  map[string]string `json:"metadata"`
	Endpoints []string          `json:"endpoints"`

	scheme string // of the endpoint to take
}

func (k *kratosInstance) translate() (string, map[string]string, error) {
	metadata := map[string]string{weightField: strconv.Itoa(kratosWeight)}
	maps.Copy(metadata, k.Metadata)
	if k.Version != "" {
		metadata["version"] = k.Version
	}
	for _, endpoint := range k.Endpoints {
		if u, err := url.Parse(endpoint); err == nil && kratosScheme(u) == k.scheme {
			return u.Host, metadata, nil
		}
	}
	return "", nil, fmt.Errorf("endpoints: got %s, want one %s://host:port (DecodeKratos takes grpc, DecodeKratosTLS grpcs)",
		quoteUpTo(strings.Join(k.Endpoints, " "), maxShownValue), k.scheme)
}

// kratosScheme gives the scheme of an endpoint as kratos writes it since v2.3.1.
func kratosScheme(u *url.URL) string {
	if secure, err := strconv.ParseBool(u.Query().Get("isSecure")); err == nil && secure && u.Scheme == "grpc" {
		return "grpcs"
	}
	return u.Scheme
}

// kitexInstance is registry-etcd's instanceInfo.
type kitexInstance struct {
	Network string            `json:"network"`
	Address string            `json:"address"`
	Weight  int64             `json:"weight"`
	Tags    map[string]string `json:"tags"`
}

func (k *kitexInstance) translate() (string, map[string]string, error) {
	switch k.Network {
	case "tcp", "tcp4", "tcp6":
	default:
		return "", nil, fmt.Errorf(`network: got %s, want "tcp"`, quoteUpTo(k.Network, maxShownValue))
	}
	metadata := make(map[string]string, len(k.Tags)+1)
	maps.Copy(metadata, k.Tags)
	weight := k.Weight
	if weight <= 0 {
		weight = kitexWeight
	}
	metadata[weightField] = strconv.FormatInt(weight, 10)
	return k.Address, metadata, nil
}

// decodeForeign reads value into f, or as etcdregistry's own format if it is that.
func decodeForeign(key string, value []byte, f foreign) (etcdregistry.Instance, error) {
	if len(value) > etcdregistry.MaxValueSize || isOwn(value) {
		return etcdregistry.Decode(key, value)
	}
	own, err := ownValue(value, f)
	if err != nil {
		return etcdregistry.Instance{}, fmt.Errorf("etcd key %s: %w", quoteUpTo(key, maxShownKey), err)
	}
	return etcdregistry.Decode(key, own)
}

// isOwn tells etcdregistry's own format by the field that no other has.
func isOwn(value []byte) bool {
	var own struct{ Addr *json.RawMessage }
	return json.Unmarshal(value, &own) == nil && own.Addr != nil
}

// ownValue says in etcdregistry's own format what value, the JSON of f, says.
func ownValue(value []byte, f foreign) ([]byte, error) {
	if err := unmarshal(value, f); err != nil {
		return nil, err
	}
	addr, metadata, err := f.translate()
	if err != nil {
		return nil, err
	}
	var own bytes.Buffer
	encoder := json.NewEncoder(&own)
	encoder.SetEscapeHTML(false) // escapes would count as size
	err = encoder.Encode(struct {
		Addr     string
		Metadata map[string]string
	}{addr, metadata})
	return own.Bytes(), err
}

// unmarshal is json.Unmarshal for a value that ought to be an object, with errors
// that are never as long as the value.
func unmarshal(value []byte, f foreign) error {
	shown := quoteUpTo(string(value), maxShownValue)
	if !bytes.HasPrefix(bytes.TrimSpace(value), []byte("{")) {
		return fmt.Errorf("value %s is not what the servers of this decoder write, want a JSON object", shown)
	}
	err := json.Unmarshal(value, f)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s: got a %s, want %s", wrong.Field, quoteUpTo(wrong.Value, maxShownValue), wrong.Type)
	}
	if err != nil {
		return fmt.Errorf("value %s is bad JSON: %w", shown, err)
	}
	return nil
}

const (
	maxShownValue = 80  // bytes of a foreign text in a message
	maxShownKey   = 200 // keys may be longer: people search for them
)

// quoteUpTo quotes s for a message, on one line and not longer than limit.
func quoteUpTo(s string, limit int) string {
	if len(s) <= limit {
		return strconv.Quote(s)
	}
	return strconv.Quote(strings.ToValidUTF8(s[:limit], "")) + "..."
}

// shownKey returns key for the log, which quotes it: in etcd it may be as long as a value.
func shownKey(key string) string {
	if len(key) <= maxShownKey {
		return key
	}
	return strings.ToValidUTF8(key[:maxShownKey], "") + "..."
}
