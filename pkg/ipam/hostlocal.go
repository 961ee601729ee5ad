package ipam

import (
	"context"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/fairway-cni/fairway/pkg/hostlocal"
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
	held, err := hostlocal.Add(ctx, conf, h.Owner, h.Netns)
	if err != nil {
		return Lease{}, nil, err
	}
	release := func() error {
		if !held.Created {
			return nil // of an attachment that may be alive
		}
		return hostlocal.Release(ctx, conf, h.Owner)
	}
	return Lease{IPs: held.Addresses, Routes: held.Routes, DNS: types.DNS(held.DNS)}, release, nil
}

// Check verifies that the owner holds an address.
func (h HostLocal) Check(ctx context.Context) error {
	return h.with(func(conf hostlocal.Config) error { return hostlocal.Check(ctx, conf, h.Owner) })
}

// Del gives back what the owner holds.
func (h HostLocal) Del(ctx context.Context) error {
	conf, err := hostlocal.Locate(h.Stdin)
	if err != nil {
		return err
	}
	return hostlocal.Release(ctx, conf, h.Owner)
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
	return hostlocal.GC(ctx, conf, h.Valid)
}

// Status says whether an Add is likely to succeed.
func (h HostLocal) Status(ctx context.Context) error {
	return h.with(func(conf hostlocal.Config) error { return hostlocal.Status(ctx, conf) })
}

func (h HostLocal) with(f func(hostlocal.Config) error) error {
	conf, err := hostlocal.Parse(h.Stdin, h.Args)
	if err != nil {
		return err
	}
	return f(conf)
}
