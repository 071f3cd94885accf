package demo

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/resolver"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/balancers/consistenthash"
	"github.com/steelyard-go/steelyard/balancertest"
)

func (c *client) isHash() bool { return c.policy.name == consistenthash.Name }

// owners says where the keys belong by a client's list.
type owners struct {
	since time.Time         // of the list
	addrs map[string]string // by key
}

// ownersOf asks a picker that knows nothing but the list, and so decides like
// one in any other process, which address each key belongs to. Where no server
// takes calls, keys belong nowhere.
func ownersOf(list map[string]attrs.Attrs, keys []string) map[string]string {
	connected := make(map[balancer.SubConn]base.SubConnInfo, len(list))
	for addr, a := range list {
		connected[balancertest.NewSubConn(addr)] = base.SubConnInfo{Address: attrs.SetAddress(resolver.Address{Addr: addr}, a)}
	}
	picker := consistenthash.NewPickerBuilder(consistenthash.Config{}).Build(base.PickerBuildInfo{ReadySCs: connected})
	addrs := make(map[string]string, len(keys))
	for _, key := range keys {
		picked, err := picker.Pick(balancer.PickInfo{Ctx: consistenthash.WithKey(context.Background(), key)})
		if err == nil {
			addrs[key] = fmt.Sprint(picked.SubConn)
		}
	}
	return addrs
}

// astray counts the keys that a client of the hash policy last called elsewhere
// than they belong by its list, and tells when the last call began that went
// elsewhere than its key does now: with none astray, that is when all had come
// home. The keys of a listed server that does not serve may be at any that does.
func (d *demo) astray(c *client) (keys int, last time.Time) {
	if !c.isHash() {
		return 0, time.Time{}
	}
	if list, since := c.lists.now(); since != c.owners.since {
		c.owners = owners{since, ownersOf(list, d.keys)}
	}
	homes := c.tally.now().homes
	for _, key := range d.keys {
		home, owner := homes[key], d.fleet.at(c.owners.addrs[key])
		if owner == nil || d.fleet.serves(owner.Name) && home.server != owner.Name || !d.fleet.serves(home.server) {
			keys++
		}
		if home.left.After(last) {
			last = home.left
		}
	}
	return keys, last
}

// movedKeys counts the keys that another server answers than before, and
// those among them that have nothing to do with the server the change is about:
// they neither left it nor came to it.
func movedKeys(before, after map[string]home, about string) (moved, strays int) {
	for key, home := range before {
		was, is := home.server, after[key].server
		if is == was {
			continue
		}
		moved++
		if is != about && was != about {
			strays++
		}
	}
	return moved, strays
}
