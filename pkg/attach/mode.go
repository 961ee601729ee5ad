package attach

import (
	"context"
	"errors"
	"log/slog"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/state"
	"github.com/fairway-cni/fairway/pkg/state/lan"
	"github.com/fairway-cni/fairway/pkg/state/sweep"
)

// mode is the verbs of a plugin that attaches containers.
type mode[C any] struct{ Mode[C] }

func (m mode[C]) add(ctx context.Context, c *call) (*types100.Result, undoer, error) {
	conf, err := m.Parse(c.stdin, c.env)
	if err != nil {
		return nil, nil, err
	}
	prev, err := c.prevResult()
	if err != nil {
		return nil, nil, err
	}
	k, err := c.openContainer()
	if err != nil {
		return nil, nil, err
	}
	if conf, err = m.resolve(conf, k); err != nil {
		return nil, nil, err
	}
	addressing, err := m.addressing(c, conf)
	if err != nil {
		return nil, nil, err
	}
	// An attachment that has the name may also have the address, which a failure further on would give back.
	draft, _ := m.Plan(conf, c.request(nil), Lease{})
	if err := draft.Free(k); err != nil {
		return nil, nil, err
	}
	var done made
	var links state.Set
	if addressing.Executed() {
		links = draft.WithoutRules() // dhcp asks for the address through the container's
	}
	if err := done.apply(k, links); err != nil {
		return nil, nil, err
	}
	lease, release, err := ipam.For(addressing).Add(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, done.takeBack())
	}
	done = append(done, release)
	set, planned := m.Plan(conf, c.request(nil), lease)
	if err := done.apply(k, set.Beyond(links)); err != nil {
		return nil, nil, errors.Join(err, done.takeBack())
	}
	result, err := planned.document(k, c, prev)
	return result, done.takeBack, err
}

func (m mode[C]) check(ctx context.Context, c *call) error {
	conf, err := m.Parse(c.stdin, c.env)
	if err != nil {
		return err
	}
	prev, err := c.recordedResult()
	if err != nil {
		return err
	}
	k, err := c.openContainer()
	if err != nil {
		return err
	}
	if conf, err = m.resolve(conf, k); err != nil {
		return err
	}
	addressing, err := m.addressing(c, conf)
	if err != nil {
		return err
	}
	set, _ := m.Plan(conf, c.request(prev), c.recordedLease(prev))
	return errors.Join(set.Repair(k), set.Verify(k), ipam.For(addressing).Check(ctx))
}

func (m mode[C]) del(ctx context.Context, c *call) error {
	conf, mistake := m.Parse(c.stdin, c.env)
	if mistake != nil {
		slog.Warn("the configuration is not one for ADD", "error", cnierr.Sentence(mistake))
	}
	prev, _ := c.prevResult() // as a result that cannot be read
	k, err := c.openForDel()
	if err != nil {
		return err
	}
	request := c.request(prev)
	request.Removal = true
	set, _ := m.Plan(conf, request, Lease{})
	addressing, err := m.addressing(c, conf)
	switch {
	case err != nil:
		return errors.Join(set.Remove(k), err)
	case addressing.Executed():
		return errors.Join(ipam.For(addressing).Del(ctx), set.Remove(k)) // dhcp gives the address back through the link
	}
	return errors.Join(set.Remove(k), ipam.For(addressing).Del(ctx)) // nobody may get an address that is in use
}

func (m mode[C]) gc(ctx context.Context, c *call) error {
	conf, mistake := m.Parse(c.stdin, c.env)
	if mistake != nil {
		slog.Warn("the configuration is not one for ADD", "error", cnierr.Sentence(mistake))
	}
	addressing, err := m.addressing(c, conf)
	if err != nil {
		return err
	}
	if addressing.Valid == nil {
		return ipam.For(addressing).GC(ctx)
	}
	pruned := m.prune(c, conf)
	// What the host itself holds goes with the last claim on it, whatever the runtime knows.
	addressing.Valid = append(addressing.Valid, hostOwner(c.conf.Name))
	return errors.Join(pruned, ipam.For(addressing).GC(ctx))
}

// prune removes what belongs to attachments that are not valid and, when none is, what the network has without any.
func (m mode[C]) prune(c *call, conf C) error {
	k, err := c.open("")
	if err != nil {
		return err
	}
	var valid []state.Owner
	for _, o := range c.valid() {
		valid = append(valid, state.Owner{Network: c.conf.Name, ContainerID: o.ContainerID, IfName: o.IfName})
	}
	err = errors.Join(sweep.Prune(k, c.conf.Name, valid), lan.PruneClaims(k, c.conf.Name, valid, c.hostLease()))
	if len(valid) == 0 {
		set, _ := m.Plan(conf, c.request(nil), Lease{})
		err = errors.Join(err, set.Retire(k))
	}
	return err
}

func (m mode[C]) status(ctx context.Context, c *call) error {
	conf, err := m.Parse(c.stdin, c.env)
	if err != nil {
		return err
	}
	k, err := c.open("")
	if err != nil {
		return unavailable(err)
	}
	if conf, err = m.resolve(conf, k); err != nil {
		return unavailable(err)
	}
	addressing, err := m.addressing(c, conf)
	if err != nil {
		return err
	}
	set, _ := m.Plan(conf, c.request(nil), Lease{})
	return unavailable(errors.Join(set.Ready(k), ipam.For(addressing).Status(ctx)))
}

// unavailable is STATUS's answer when ADD would fail. A mistake in the configuration keeps its own code, and so does an
// executed plugin's answer that ADD works, with limits. What the kernel or the host lacks is, to ADD, a mistake in the
// configuration; to STATUS, it is the host that cannot serve.
func unavailable(err error) error {
	if err == nil {
		return nil
	}
	code := cnierr.Code(err)
	lacking := errors.Is(err, state.ErrUnsupported) || errors.Is(err, state.ErrAbsent)
	mistake := (code == cnierr.Config || code == cnierr.Decode) && !lacking
	if mistake || code == cnierr.Limited {
		return err
	}
	return cnierr.Errorf(cnierr.ErrUnavailable, "%w", err)
}
