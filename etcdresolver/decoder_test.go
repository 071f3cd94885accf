package etcdresolver

import "github.com/steelyard-go/steelyard/etcdregistry"

// bare takes every value for an address.
func bare(_ string, value []byte) (etcdregistry.Instance, error) {
	return etcdregistry.Instance{Addr: string(value)}, nil
}
