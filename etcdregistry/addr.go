package etcdregistry

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// checkAddr reports why clients could not dial addr, or nil.
func checkAddr(addr string) error {
	if addr == "" {
		return errors.New("the address is empty, want host:port")
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("address %s is not host:port", cut(addr))
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		return fmt.Errorf("address %s: port: got %s, want a number from 1 to 65535", cut(addr), cut(port))
	}
	if host == "" {
		return fmt.Errorf("address %s names no host: see AdvertiseAddr", cut(addr))
	}
	ip, err := netip.ParseAddr(host)
	switch {
	case err != nil && !isHostname(host), ip.Zone() != "" && !isHostname(ip.Zone()):
		return fmt.Errorf("address %s: host %s is neither an IP address nor a DNS name", cut(addr), cut(host))
	case ip.Unmap().IsUnspecified():
		return fmt.Errorf("address %s: others cannot reach the unspecified host %s: see AdvertiseAddr", cut(addr), host)
	}
	return nil
}

// isHostname tells whether s can be a DNS name. It asks less than the DNS does: its
// point is that nothing else gets from etcd into a dialer or a log line.
func isHostname(s string) bool {
	const maxLength = 253 // of a name in the DNS
	notInName := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-_.", r)
	}
	return s != "" && len(s) <= maxLength && strings.IndexFunc(s, notInName) < 0
}
