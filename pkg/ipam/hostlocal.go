package ipam

import (
	"context"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairway-cni/fairway/pkg/hostlocal"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/liveness"
	"github.com/fairway-cni/fairway/pkg/state"
)

// HostLocal is host-local within the process: the same files, lock and results as the plugin's, without an exec.
type HostLocal struct{ Request }

// Add reserves an address of each range set.
func (h HostLocal) Add(ctx context.Context) (Lease, func() error, error) {
	conf, err := hostlocal.Parse(h.Stdin, h.Args)
	if err != nil {
		return Lease{}, nil, err
	}
	return h.add(ctx, conf)
}

// AddAny is Add for an owner whom the addresses that the call asks for are not meant for.
func (h HostLocal) AddAny(ctx context.Context) (Lease, error) {
	conf, err := hostlocal.Parse(h.Stdin, h.Args)
	if err != nil {
		return Lease{}, err
	}
	conf.Requested = nil
	lease, _, err := h.add(ctx, conf)
	return lease, err
}

func (h HostLocal) add(ctx context.Context, conf hostlocal.Config) (Lease, func() error, error) {
	store := h.store(conf)
	got, err := store.Add(ctx, h.Owner, h.namespace())
	if err != nil {
		return Lease{}, nil, err
	}
	release := func() error { return store.Undo(ctx, h.Owner, got) }
	return Lease{IPs: got.Addresses, Routes: got.Routes, DNS: types.DNS(got.DNS), First: got.First}, release, nil
}

func (h HostLocal) store(conf hostlocal.Config) *hostlocal.Store {
	store := hostlocal.NewStore(conf)
	store.Gone = Gone(&liveness.Observer{})
	return store
}

// namespace is what is recorded of the owner's. Of one that cannot be identified nothing is recorded, and its address is not
// reclaimed.
func (r Request) namespace() hostlocal.Netns {
	mark, err := r.mark()
	if err != nil {
		return hostlocal.Netns{}
	}
	return hostlocal.Netns{Mark: mark.String(), Path: r.Netns}
}

func (r Request) mark() (liveness.Mark, error) {
	if r.Namespace != (kernel.NamespaceID{}) {
		return liveness.MarkOf(r.Namespace)
	}
	return liveness.MarkAt(r.Netns)
}

// Gone asks the kernel for the holder of an address.
func Gone(o *liveness.Observer) hostlocal.Gone {
	return func(_ context.Context, h hostlocal.Holder) bool {
		mark, ok := liveness.ParseMark(h.Netns.Mark)
		owner := state.Owner{Network: h.Network, ContainerID: h.Owner.ContainerID, IfName: h.Owner.IfName}
		return ok && o.Gone(owner, mark, h.Netns.Path)
	}
}

// Check verifies that the owner holds the addresses of its lease.
func (h HostLocal) Check(ctx context.Context) error {
	conf, err := hostlocal.Parse(h.Stdin, h.Args)
	if err != nil {
		return err
	}
	return h.store(conf).Check(ctx, h.Owner, h.Held)
}

// Del gives back what the owner holds.
func (h HostLocal) Del(ctx context.Context) error {
	conf, err := hostlocal.Locate(h.Stdin)
	if err != nil {
		return err
	}
	return h.store(conf).Release(ctx, h.Owner)
}

// GC gives back what owners hold that are not valid. Without a list it changes nothing.
func (h HostLocal) GC(ctx context.Context) error {
	if h.Valid == nil {
		return nil
	}
	conf, err := hostlocal.Locate(h.Stdin)
	if err != nil {
		return err
	}
	return h.store(conf).GC(ctx, h.Valid)
}

// Status says whether an Add can work.
func (h HostLocal) Status(ctx context.Context) error {
	conf, err := hostlocal.Parse(h.Stdin, h.Args)
	if err != nil {
		return err
	}
	return h.store(conf).Status(ctx)
}
