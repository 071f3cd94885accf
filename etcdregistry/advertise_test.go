package etcdregistry

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAdvertiseAddr(t *testing.T) {
	tcp := func(addrPort string) net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addrPort)) }
	machine := []string{"127.0.0.1", "::1", "fe80::1", "169.254.0.1", "2001:db8::7", "10.0.0.7", "192.168.0.7"}
	cases := []struct {
		name     string
		listener net.Addr
		machine  []string
		want     string
		wantErr  string
	}{
		{"one address stays", tcp("10.1.2.3:8080"), machine, "10.1.2.3:8080", ""},
		{"loopback was chosen and stays", tcp("127.0.0.1:8080"), machine, "127.0.0.1:8080", ""},
		{"IPv6 address stays", tcp("[2001:db8::9]:8080"), machine, "[2001:db8::9]:8080", ""},
		{"mapped address is unmapped", tcp("[::ffff:10.1.2.3]:8080"), machine, "10.1.2.3:8080", ""},
		{"all addresses", tcp("[::]:8080"), machine, "10.0.0.7:8080", ""},
		{"all IPv4 addresses", tcp("0.0.0.0:8080"), machine, "10.0.0.7:8080", ""},
		{"IPv6 where there is nothing else", tcp("[::]:8080"), []string{"::1", "fe80::1", "2001:db8::7"}, "[2001:db8::7]:8080", ""},
		{
			"an IPv4 listener is not on IPv6", tcp("0.0.0.0:8080"),
			[]string{"127.0.0.1", "2001:db8::7"},
			"",
			"etcdregistry: the listener's address 0.0.0.0:8080 names no host: this machine has none that others can reach, give the host:port that clients dial",
		},
		{
			"loopback alone", tcp("[::]:8080"),
			[]string{"127.0.0.1", "::1", "fe80::1"},
			"",
			"etcdregistry: the listener's address [::]:8080 names no host: this machine has none that others can reach, give the host:port that clients dial",
		},
		{
			"the system fails", tcp("[::]:8080"), nil, "",
			"etcdregistry: the listener's address [::]:8080 names no host: no such device, give the host:port that clients dial",
		},
		{
			"port 0", tcp("10.0.0.7:0"), machine, "",
			"etcdregistry: the listener's address 10.0.0.7:0 has no port yet, give the host:port that clients dial",
		},
		{
			"unix socket", &net.UnixAddr{Name: "/run/pay.sock", Net: "unix"}, machine, "",
			"etcdregistry: clients cannot dial the unix address /run/pay.sock, give the host:port that they dial",
		},
		{"nil", nil, machine, "", "etcdregistry: the listener has no address, give the host:port that clients dial"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := advertiseAddr(c.listener, func() ([]netip.Addr, error) {
				if c.machine == nil {
					return nil, errors.New("no such device")
				}
				var addrs []netip.Addr
				for _, addr := range c.machine {
					addrs = append(addrs, netip.MustParseAddr(addr))
				}
				return addrs, nil
			})
			if c.wantErr != "" {
				require.EqualError(t, err, c.wantErr)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			require.NoError(t, checkAddr(got), "Register would refuse it")
		})
	}
}

// On this machine, whatever its addresses are, the result is one that Register
// takes, or an error.
func TestAdvertiseAddr_OfARealListener(t *testing.T) {
	for _, network := range []string{"127.0.0.1:0", ":0"} {
		listener, err := net.Listen("tcp", network)
		require.NoError(t, err)
		addr, err := AdvertiseAddr(listener.Addr())
		require.NoError(t, listener.Close())
		if err != nil {
			require.ErrorContains(t, err, "give the host:port that clients dial")
			continue
		}
		require.NoError(t, checkAddr(addr))
	}
}
