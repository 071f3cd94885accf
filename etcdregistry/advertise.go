package etcdregistry

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// AdvertiseAddr returns the address of a listener as a host:port that other
// machines can reach, to register it as [Instance.Addr].
//
// A listener that is bound to one address has that address. One that is bound to
// all ("[::]:8080", "0.0.0.0:8080") gets the first address of this machine that is
// not loopback, link-local or multicast, of an interface that is up; IPv4 comes
// before IPv6. On a machine in several networks that may be the wrong one: pass the
// right one to [Register] yourself. AdvertiseAddr fails with an error that asks for
// an address where there is none to be found, for a port 0, and for listeners other
// than TCP.
func AdvertiseAddr(addr net.Addr) (string, error) {
	return advertiseAddr(addr, machineAddrs)
}

func advertiseAddr(addr net.Addr, machine func() ([]netip.Addr, error)) (string, error) {
	if addr == nil {
		return "", errors.New("etcdregistry: the listener has no address, give the host:port that clients dial")
	}
	if !strings.HasPrefix(addr.Network(), "tcp") {
		return "", fmt.Errorf("etcdregistry: clients cannot dial the %s address %s, give the host:port that they dial",
			addr.Network(), addr)
	}
	bound, err := netip.ParseAddrPort(addr.String())
	if err != nil || bound.Port() == 0 {
		return "", fmt.Errorf("etcdregistry: the listener's address %s has no port yet, give the host:port that clients dial", addr)
	}
	host := bound.Addr().Unmap()
	if host.IsUnspecified() {
		if host, err = reachable(host, machine); err != nil {
			return "", fmt.Errorf("etcdregistry: the listener's address %s names no host: %w, give the host:port that clients dial",
				addr, err)
		}
	}
	return netip.AddrPortFrom(host, bound.Port()).String(), nil
}

// reachable picks one of the machine's addresses for a listener on all of them.
func reachable(bound netip.Addr, machine func() ([]netip.Addr, error)) (netip.Addr, error) {
	candidates, err := machine()
	if err != nil {
		return netip.Addr{}, err
	}
	candidates = slices.DeleteFunc(candidates, func(ip netip.Addr) bool {
		return !ip.IsGlobalUnicast() || bound.Is4() && !ip.Is4()
	})
	if len(candidates) == 0 {
		return netip.Addr{}, errors.New("this machine has none that others can reach")
	}
	if i := slices.IndexFunc(candidates, netip.Addr.Is4); i >= 0 {
		return candidates[i], nil
	}
	return candidates[0], nil
}

// machineAddrs returns the addresses of the interfaces that are up, in the system's
// order.
func machineAddrs() ([]netip.Addr, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, iface := range interfaces {
		if iface.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := iface.Addrs()
		if err != nil {
			return nil, err
		}
		for _, addr := range addrs {
			if prefix, err := netip.ParsePrefix(addr.String()); err == nil {
				all = append(all, prefix.Addr().Unmap())
			}
		}
	}
	return all, nil
}
