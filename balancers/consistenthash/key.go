package consistenthash

import (
	"context"
	"strings"

	"google.golang.org/grpc/metadata"
)

type contextKey struct{}

// WithKey returns a context whose calls are mapped by key. It goes before the
// request header and spares the pick from reading the metadata. The empty key
// is a key like any other.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, contextKey{}, key)
}

// keyOf returns the key of a call: the one of [WithKey], else the values of
// the outgoing header joined by commas, as gRFC A76 has it. header is in lower
// case; "" names none.
func keyOf(ctx context.Context, header string) (key string, ok bool) {
	if ctx == nil { // in a unit test
		return "", false
	}
	if key, ok = ctx.Value(contextKey{}).(string); ok || header == "" {
		return key, ok
	}
	md, _ := metadata.FromOutgoingContext(ctx)
	values := md[header]
	switch len(values) {
	case 0:
		return "", false
	case 1:
		return values[0], true
	default:
		return strings.Join(values, ","), true
	}
}
