package demo

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service the demo calls, written by hand because it has one method: a key
// goes in, the name of the server that answered comes out.
const (
	serviceName = "steelyard.demo.Scale"
	weighMethod = "/" + serviceName + "/Weigh"
)

// workTime is how long a server works on a call. It gives the calls a time in
// flight, without which there would be little to see when a server dies.
const workTime = time.Millisecond

// scale answers with its name.
type scale string

func (s scale) weigh(ctx context.Context) (*wrapperspb.StringValue, error) {
	select {
	case <-time.After(workTime):
		return wrapperspb.String(string(s)), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

var scaleDesc = grpc.ServiceDesc{
	ServiceName: serviceName,
	HandlerType: (*interface {
		weigh(ctx context.Context) (*wrapperspb.StringValue, error)
	})(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Weigh",
		Handler: func(s any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			if err := decode(new(wrapperspb.StringValue)); err != nil {
				return nil, err
			}
			return s.(scale).weigh(ctx) //nolint:errcheck // gRPC checks it against HandlerType
		},
	}},
}

// weigh makes one call and returns the name of the server that answered.
func weigh(ctx context.Context, conn grpc.ClientConnInterface, key string) (string, error) {
	var server wrapperspb.StringValue
	err := conn.Invoke(ctx, weighMethod, wrapperspb.String(key), &server)
	return server.GetValue(), err
}
