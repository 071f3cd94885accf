package p2c

import (
	"maps"
	"strings"
	"sync/atomic"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// maxMethods bounds how many methods are remembered: a proxy may see any number
// of names.
const maxMethods = 1000

// methods tells which methods are streams. gRPC does not tell a policy, but the
// protobuf descriptors that are linked into a client know. The zero methods
// knows none; it is safe for concurrent use.
type methods struct {
	last  atomic.Pointer[method]
	known atomic.Pointer[map[string]*method] // never modified
}

type method struct {
	name   string // such as "/package.Service/Method"
	stream bool
}

// stream reports whether the method streams in either direction. One without a
// descriptor is taken for a plain call. The descriptors are looked up once for
// each method.
func (m *methods) stream(name string) bool {
	if last := m.last.Load(); last != nil && last.name == name {
		return last.stream
	}
	found := m.find(name)
	if found == nil {
		return false
	}
	m.last.Store(found)
	return found.stream
}

// find returns the method, nil when it is one too many.
func (m *methods) find(name string) *method {
	var known map[string]*method
	if p := m.known.Load(); p != nil {
		known = *p
	}
	if found := known[name]; found != nil || len(known) == maxMethods {
		return found
	}
	found := &method{name: name, stream: streams(name)}
	more := make(map[string]*method, len(known)+1)
	maps.Copy(more, known)
	more[name] = found
	m.known.Store(&more) // of two at once one is forgotten, and looked up again
	return found
}

// streams looks the method up among the descriptors linked in.
func streams(name string) bool {
	full := strings.ReplaceAll(strings.TrimPrefix(name, "/"), "/", ".")
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(full))
	if err != nil {
		return false
	}
	m, ok := descriptor.(protoreflect.MethodDescriptor)
	return ok && (m.IsStreamingClient() || m.IsStreamingServer())
}
