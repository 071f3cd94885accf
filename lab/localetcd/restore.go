package localetcd

import (
	"crypto/rand"
	"os"
)

// Snapshot copies the data to dir, which must be missing or empty. It kills the
// process for that, so that nothing is written meanwhile, and restarts it.
// Not for a member of a [Cluster].
func (p *Process) Snapshot(dir string) error {
	return p.relaunch(func() error { return os.CopyFS(dir, os.DirFS(p.member.dataDir())) })
}

// Restore kills the process and restarts it on what [Process.Snapshot] left in
// dir: at the same address, with the cluster id of then, back at the revision of
// then. Not for a member of a [Cluster].
func (p *Process) Restore(dir string) error {
	return p.relaunch(func() error {
		if err := os.RemoveAll(p.member.dataDir()); err != nil {
			return err
		}
		return os.CopyFS(p.member.dataDir(), os.DirFS(dir))
	})
}

// Replace kills the process and restarts it without any data: at the same
// address another cluster, with an id of its own, at revision 1. Not for a member
// of a [Cluster].
func (p *Process) Replace() error {
	return p.relaunch(func() error {
		p.member.Token = rand.Text()
		return os.RemoveAll(p.member.dataDir())
	})
}
