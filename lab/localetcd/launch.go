package localetcd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

// launchTries bounds how often ports are lost to others before it is an error.
const launchTries = 3

// launch starts a process for each member that assign gives, all at once: none
// serves without a majority of them. Between the look at a port and the child's
// use of it another process may come first: then assign is asked again.
func launch(ca *CA, assign func() []member) (processes []*Process, err error) {
	for range launchTries {
		members := assign()
		if processes, err = prepare(ca, members); err != nil {
			return nil, err
		}
		if err = each(processes, (*Process).Restart); err == nil {
			return processes, nil
		}
		err = errors.Join(err, each(processes, (*Process).Close))
		if portsFree(members) {
			break
		}
	}
	return nil, err
}

// prepare gives processes that have not been started yet.
func prepare(ca *CA, members []member) ([]*Process, error) {
	processes := make([]*Process, 0, len(members))
	for _, m := range members {
		client, err := newClient(ca, m.Client)
		if err != nil {
			return nil, errors.Join(err, each(processes, (*Process).Close))
		}
		processes = append(processes, &Process{member: m, ca: ca, client: client})
	}
	return processes, nil
}

// each has all the processes act at the same time.
func each(processes []*Process, act func(*Process) error) error {
	errs := make([]error, len(processes))
	var all sync.WaitGroup
	for i, p := range processes {
		all.Go(func() { errs[i] = act(p) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func portsFree(members []member) bool {
	for _, m := range members {
		if !listenable(m.Client) || !listenable(m.Peer) {
			return false
		}
	}
	return true
}

// keepablePort gives a free address below the ports that systems hand out to
// outgoing connections (32768 on Linux). One of those could sit on the port while
// etcd is down, or even, dialing itself, pass for the server.
func keepablePort() string {
	var addr string
	for range 100 {
		addr = fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if listenable(addr) {
			break
		}
	}
	return addr
}

// listenable reports whether host:port is free.
func listenable(addr string) bool {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return false
	}
	return l.Close() == nil
}
