package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/steelyard-go/steelyard/attrs"
	"github.com/steelyard-go/steelyard/etcdregistry"
	"github.com/steelyard-go/steelyard/lab/internal/child"
)

const (
	scaleService = "payments"
	scaleMark    = "mark"
	// scaleBatch is etcd's limit of operations in a transaction.
	scaleBatch = 128

	scaleWriterChild = "scale-writer"
)

// The writer is a process of its own, and so is etcd: all that this process works
// and holds is the resolvers'.
func init() {
	child.RunIf(scaleWriterChild, func(ctx context.Context, env *child.Env) error {
		var addr string
		if err := json.Unmarshal(env.Config, &addr); err != nil {
			return err
		}
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, Logger: zap.NewNop()})
		if err != nil {
			return err
		}
		defer func() { _ = client.Close() }()
		w := &scaleWriter{client: client}
		env.Ready("")
		for c := range env.Commands {
			c.Answer(w.do(ctx, c.Text))
		}
		return nil
	})
}

// scaleWriter plays the servers of the service.
type scaleWriter struct {
	client  *clientv3.Client
	size    int
	changes int
}

// scaleCommand is what a test tells the writer to do, in JSON.
type scaleCommand struct {
	Fill    int           // so many instances
	Changes int           // of so many weights, one after the other
	Every   time.Duration // so often
	Mark    bool          // one instance more, as the last change
	Unmark  bool          // and away again
}

func (w *scaleWriter) do(ctx context.Context, text string) error {
	var c scaleCommand
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		return err
	}
	if err := w.fill(ctx, c.Fill); err != nil {
		return err
	}
	if err := w.change(ctx, c.Changes, c.Every); err != nil {
		return err
	}
	if c.Mark {
		<-time.After(c.Every)
		_, err := w.client.Put(ctx, etcdregistry.Key(scaleService, scaleMark), scaleValue("10.255.255.255:8080", 1))
		return err
	}
	if c.Unmark {
		_, err := w.client.Delete(ctx, etcdregistry.Key(scaleService, scaleMark))
		return err
	}
	return nil
}

func (w *scaleWriter) fill(ctx context.Context, n int) error {
	for w.size < n {
		var puts []clientv3.Op
		for ; w.size < n && len(puts) < scaleBatch; w.size++ {
			puts = append(puts, clientv3.OpPut(scaleKey(w.size), scaleValue(scaleAddr(w.size), 1)))
		}
		if _, err := w.client.Txn(ctx).Then(puts...).Commit(); err != nil {
			return err
		}
	}
	return nil
}

// change puts new weights all over the list. It makes up for the time that a put
// takes, and for delays.
func (w *scaleWriter) change(ctx context.Context, n int, every time.Duration) error {
	began := time.Now()
	for i := range n {
		if wait := time.Until(began.Add(time.Duration(i) * every)); wait > 0 {
			<-time.After(wait)
		}
		w.changes++
		at := w.changes * 7919 % w.size // a prime: it comes round to all
		if _, err := w.client.Put(ctx, scaleKey(at), scaleValue(scaleAddr(at), uint32(2+w.changes%97))); err != nil {
			return err
		}
	}
	return nil
}

func scaleAddr(i int) string { return fmt.Sprintf("10.%d.%d.%d:8080", i>>16, i>>8&255, i&255) }

func scaleKey(i int) string { return etcdregistry.Key(scaleService, scaleAddr(i)) }

// scaleValue is what etcdregistry writes, and the official resolver reads.
func scaleValue(addr string, weight uint32) string {
	value, err := etcdregistry.Encode(etcdregistry.Instance{Addr: addr, Attrs: attrs.Attrs{
		Weight: weight, Zone: "eu-1a", Labels: map[string]string{"version": "1.4.2"},
	}})
	if err != nil {
		panic(err) // it is wrong here
	}
	return value
}
