package demo

import "github.com/steelyard-go/steelyard/balancers/consistenthash"

func (c *client) isHash() bool { return c.policy.name == consistenthash.Name }

// movedKeys counts the keys that another server answers than before, and
// those among them that have nothing to do with the server the change is about:
// they neither left it nor came to it.
func movedKeys(before, after map[string]string, about string) (moved, strays int) {
	for key, was := range before {
		is := after[key]
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
