package attach

import (
	"context"
	"errors"
	"log/slog"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/rescue"
	"github.com/fairway-cni/fairway/pkg/state/lan"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
)

// mode is the verbs of a plugin that attaches containers.
type mode[C any] struct{ Mode[C] }

// resolved is a call with its configuration complete: what ADD, CHECK and STATUS begin with.
type resolved[C any] struct {
	conf       C
	kernel     *kernel.Kernel
	addressing ipam.Request
	prev       *types100.Result // ADD: of the plugins before, or nil
}

// resolve reads the configuration, opens the kernel and completes the configuration by what only the host can tell.
func (m mode[C]) resolve(c *call, open func() (*kernel.Kernel, error)) (r resolved[C], err error) {
	if r.conf, err = m.Parse(c.stdin, c.env); err != nil {
		return r, err
	}
	if r.kernel, err = open(); err != nil {
		return r, unready{err}
	}
	if m.Resolve != nil {
		if r.conf, err = m.Resolve(r.conf, r.kernel); err != nil {
			return r, unready{err}
		}
	}
	if r.addressing, err = m.addressing(c, r.conf); err != nil || r.kernel.Container == nil {
		return r, err
	}
	r.addressing.Namespace, err = r.kernel.Container.ID()
	return r, err
}

// unready marks an error as one of the host, not of the configuration.
type unready struct{ error }

func (u unready) Unwrap() error { return u.error }

func (m mode[C]) check(ctx context.Context, c *call) error {
	r, err := m.resolve(c, c.openContainer)
	if err != nil {
		return err
	}
	prev, err := c.recordedResult()
	if err != nil {
		return err
	}
	lease, err := c.recordedLease(prev)
	if err != nil {
		return err
	}
	request := c.request(prev)
	request.Recorded = true
	r.addressing.Held = lease.Addresses()
	set, _ := m.Plan(r.conf, request, lease)
	if c.env.Redeclare != "" {
		return c.redeclare(r.kernel, request.HostLink(), set)
	}
	set = append(set, c.record(request.Owner, lease)...)
	return errors.Join(set.Repair(r.kernel), set.Verify(r.kernel), ipam.For(r.addressing).Check(ctx))
}

// del continues with what could be read of a configuration that ADD would refuse.
func (m mode[C]) del(ctx context.Context, c *call) error {
	conf := parseForRemoval(c, m.Parse)
	prev, _ := c.prevResult() // one that cannot be read is as none
	k, err := c.openForDel()
	if err != nil {
		return err
	}
	request := c.request(prev)
	request.Removal = true
	set, _ := m.Plan(conf, request, Lease{})
	set = append(set, forgetRecord(request.Owner)...)
	addressing, err := m.addressingForDel(c, conf)
	switch {
	case err != nil:
		return errors.Join(set.Remove(k), err)
	case addressing.Executed():
		return errors.Join(ipam.For(addressing).Del(ctx), set.Remove(k)) // dhcp gives the address back through the link
	}
	// While a link may have it, nobody else gets the address: the runtime repeats a DEL that failed.
	if err := set.Remove(k); err != nil {
		return err
	}
	if addressing.Type == "host-local" {
		return c.release(ctx, addressing)
	}
	return ipam.For(addressing).Del(ctx)
}

func (m mode[C]) gc(ctx context.Context, c *call) error {
	conf := parseForRemoval(c, m.Parse)
	addressing, err := m.addressing(c, conf)
	if err != nil {
		return err
	}
	if addressing.Valid == nil {
		return ipam.For(addressing).GC(ctx)
	}
	// While a link may have it, nobody else gets an address.
	if err := m.prune(c, conf); err != nil {
		return err
	}
	// What the host itself holds goes with the last claim on it, whatever the runtime knows.
	addressing.Valid = append(addressing.Valid, hostOwner(c.conf.Name))
	return ipam.For(addressing).GC(ctx)
}

// parseForRemoval is what can be read of the configuration.
func parseForRemoval[C any](c *call, parse Parse[C]) C {
	conf, err := func() (conf C, err error) {
		defer rescue.Panic(&err)
		return parse(c.stdin, c.env)
	}()
	if err != nil {
		slog.Warn("configuration is invalid: "+c.env.Command+" continues with what could be read", "error", cnierr.Sentence(err))
	}
	return conf
}

// prune removes what belongs to attachments that are not valid and, when none is, what the network has without any.
func (m mode[C]) prune(c *call, conf C) error {
	k, err := c.openForRemoval("")
	if err != nil {
		return err
	}
	valid := c.owners()
	err = errors.Join(sweep.Prune(k, c.conf.Name, valid), lan.PruneClaims(k, c.conf.Name, valid, c.hostLease()))
	if len(valid) == 0 {
		set, _ := m.Plan(conf, c.request(nil), Lease{})
		err = errors.Join(err, set.Retire(k))
	}
	return err
}

func (m mode[C]) status(ctx context.Context, c *call) error {
	r, err := m.resolve(c, func() (*kernel.Kernel, error) { return c.open("") })
	if errors.As(err, &unready{}) {
		return unavailable(err)
	}
	if err != nil {
		return err
	}
	var lease Lease
	if r.addressing.Type == "host-local" {
		if lease, err = (ipam.HostLocal{Request: r.addressing}).Prospect(); err != nil {
			return unavailable(err)
		}
	}
	set, _ := m.Plan(r.conf, c.request(nil), lease)
	return unavailable(errors.Join(exceptLimits(set.Ready(r.kernel)), addressesReady(ctx, ipam.For(r.addressing))))
}
