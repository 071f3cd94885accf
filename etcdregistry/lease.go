package etcdregistry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// lease is a lease that is being kept alive.
type lease struct {
	id       clientv3.LeaseID
	ttl      time.Duration
	renewals <-chan *clientv3.LeaseKeepAliveResponse
	renewed  time.Time // the last answer
	cancel   context.CancelFunc
}

// reconcile makes sure of a lease, then of the key under it, and only then ends the
// leases it replaced: the key moves from one to the next without a gap.
func (k *keeper) reconcile(ctx context.Context, value string, version int) error {
	if err := k.ensureLease(ctx); err != nil {
		return err
	}
	if err := k.ensureKey(ctx, value, version); err != nil {
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			k.dropLease("etcd does not know it")
		}
		return err
	}
	if len(k.stale) > 0 {
		// At best: what is not revoked ends by itself, nobody renews it.
		if err := k.revoke(ctx, k.stale); err != nil {
			k.logger.Debug("etcd registration: old lease not revoked", "key", k.key, "error", err)
		}
		k.stale = nil
	}
	return nil
}

func (k *keeper) ensureLease(ctx context.Context) error {
	if k.lease.id != 0 {
		return nil
	}
	id, ttl, err := k.store.grant(ctx, k.ttl)
	if err != nil {
		return fmt.Errorf("grant a lease: %w", err)
	}
	// Not a child of ctx, which ends with the attempt. And nothing of the caller's
	// context either: with etcd's WithRequireLeader in it, a lost leader would end
	// the keep-alive and leave a ghost lease.
	keepCtx, cancel := context.WithCancel(context.Background())
	renewals, err := k.store.keepAlive(keepCtx, id)
	if err != nil {
		cancel()
		k.stale = append(k.stale, id)
		return fmt.Errorf("keep the lease alive: %w", err)
	}
	k.lease = lease{id: id, ttl: ttl, renewals: renewals, cancel: cancel}
	k.renewed()
	return nil
}

// renewed notes that etcd has just said how long the lease lasts.
func (k *keeper) renewed() {
	k.lease.renewed = time.Now()
	k.silence.Reset(k.lease.ttl / 2)
}

// ensureKey puts the key unless it stands as it should. A value that somebody else
// wrote under our lease is left: that is how an operator overrides a weight. But a
// key under no lease is put back, it would outlive us.
func (k *keeper) ensureKey(ctx context.Context, value string, version int) error {
	const tries = 3 // one is enough unless others write the key at the same moment
	for range tries {
		held, err := k.store.holder(ctx, k.key)
		switch {
		case err != nil:
			return fmt.Errorf("read the key: %w", err)
		case held.lease == k.lease.id && k.written == version:
			return nil
		case k.stands && k.isForeign(held.lease):
			return foreignError(held.lease)
		case k.stands && held.lease == 0:
			k.become(reregistering, "the key was gone, or under no lease")
		}
		revision, err := k.store.swap(ctx, k.key, value, k.lease.id, held.revision)
		if err != nil {
			return fmt.Errorf("put the key: %w", err)
		}
		if revision > 0 {
			k.stands, k.written, k.revision = true, version, revision
			return nil
		}
	}
	return errors.New("put the key: others keep changing it")
}

// isForeign tells whether a lease is another registration's.
func (k *keeper) isForeign(id clientv3.LeaseID) bool {
	return id != 0 && id != k.lease.id && !slices.Contains(k.stale, id)
}

// dropLease stops renewing the lease. It is not revoked yet: while it lasts, so
// does the key.
func (k *keeper) dropLease(cause string) {
	k.lease.cancel()
	k.silence.Stop()
	k.stale = append(k.stale, k.lease.id)
	k.lease = lease{}
	k.become(reregistering, "lost the lease: "+cause)
}

func (k *keeper) revoke(ctx context.Context, leases []clientv3.LeaseID) error {
	var errs []error
	for _, id := range leases {
		if err := k.store.revoke(ctx, id); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// foreignError says that a key is under a lease that is not ours.
type foreignError clientv3.LeaseID

func (e foreignError) Error() string {
	return fmt.Sprintf("another registration holds the key under lease %016x: left alone until it is free", int64(e))
}

func isForeign(err error) bool {
	var foreign foreignError
	return errors.As(err, &foreign)
}

// isVerdict tells whether waiting is unlikely to help: another registration has the
// key, or etcd refuses the client.
func isVerdict(err error) bool {
	return isForeign(err) || errors.Is(err, rpctypes.ErrPermissionDenied) ||
		errors.Is(err, rpctypes.ErrAuthFailed) || errors.Is(err, rpctypes.ErrUserEmpty)
}

func leaseField(id clientv3.LeaseID) slog.Attr {
	return slog.String("lease", fmt.Sprintf("%016x", int64(id)))
}
