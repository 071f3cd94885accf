package localetcd

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"
)

// etcd is one member in this process.
type etcd struct {
	*embed.Etcd
	grpc *grpc.Server // nil until it serves
}

// startEtcd returns when the member serves.
func startEtcd(m member) (*etcd, error) {
	e := &etcd{}
	config := m.embedConfig()
	// etcd registers services once it is ready, just before it serves clients.
	serves := make(chan *grpc.Server, 1)
	config.ServiceRegister = func(s *grpc.Server) { serves <- s }
	var err error
	e.Etcd, err = embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("localetcd: start: %w", err)
	}
	select {
	case e.grpc = <-serves:
		return e, nil
	case err = <-e.Err():
	case <-e.Server.StopNotify():
		err = errors.New("stopped by itself")
	case <-time.After(startTimeout):
		err = fmt.Errorf("not ready after %v", startTimeout)
	}
	e.close()
	return nil, fmt.Errorf("localetcd: start: %w", err)
}

// close cuts the clients off first: etcd would wait five seconds for their watches.
func (e *etcd) close() {
	if e.grpc != nil {
		e.grpc.Stop()
	}
	e.Close()
}
