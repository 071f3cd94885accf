package etcdresolver

import (
	"context"
	"time"
)

const (
	// auditInterval is how often, on average, a watch is checked against a list.
	auditInterval = 5 * time.Minute
	// auditTimeout bounds a page of that list. The events wait meanwhile.
	auditTimeout = time.Second
)

// listAgain lists all keys, to be compared once the watch has told everything up
// to the list's revision. What fails is left to the next time. An error ends the watch.
func (f *feed) listAgain(ctx context.Context) error {
	list, err := f.lister.list(ctx, auditTimeout)
	if err != nil {
		f.log.DebugContext(ctx, "etcdresolver: audit failed", "error", err)
		return nil
	}
	contradicted := false
	f.run.do(func() { contradicted = f.replica.contradicts(list) })
	if contradicted {
		return errHistory
	}
	f.audited = list
	return nil
}

// compare ends an audit if revision, up to which the watch has told everything, is
// that of the list or later. A difference is a bug, in etcd or here. It is mended.
// The lock of the knowledge is held.
func (f *feed) compare(revision int64) {
	if f.audited.revision == 0 || revision < f.audited.revision {
		return
	}
	wrong := f.replica.audit(f.audited)
	counts := &f.run.service.known.counts
	counts.Audits++
	counts.AuditDifferences += int64(wrong)
	if wrong > 0 {
		f.log.Error("etcdresolver: audit: the watch missed changes, mended by a list",
			"revision", f.audited.revision, "keys", len(f.audited.kvs), "wrong", wrong)
	}
	f.audited = snapshot{}
}
