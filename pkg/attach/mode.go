package attach

import (
	"context"
	"errors"
	"log/slog"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/cnierr"
	"github.com/fairway-cni/fairway/pkg/ipam"
	"github.com/fairway-cni/fairway/pkg/state"
)

// mode is the verbs of a plugin that attaches containers.
type mode[C any] struct {
	parse Parse[C]
	plan  Plan[C]
}

func (m mode[C]) add(ctx context.Context, c *call) (*types100.Result, undoer, error) {
	conf, err := m.parse(c.stdin, c.env)
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
	// An attachment that has the name may also have the address, which a failure further on would give back.
	draft, _ := m.plan(conf, c.request(nil), Lease{})
	if err := draft.Free(k); err != nil {
		return nil, nil, err
	}
	var done made
	var links state.Set
	if c.addressing().Executed() {
		links = draft.WithoutRules() // dhcp asks for the address through the container's
	}
	if err := done.apply(k, links); err != nil {
		return nil, nil, err
	}
	lease, release, err := ipam.For(c.addressing()).Add(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, done.takeBack())
	}
	done = append(done, release)
	set, planned := m.plan(conf, c.request(nil), lease)
	if err := done.apply(k, set.Beyond(links)); err != nil {
		return nil, nil, errors.Join(err, done.takeBack())
	}
	result, err := planned.document(k, c, prev)
	return result, done.takeBack, err
}

func (m mode[C]) check(ctx context.Context, c *call) error {
	conf, err := m.parse(c.stdin, c.env)
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
	set, _ := m.plan(conf, c.request(prev), c.recordedLease(prev))
	return errors.Join(set.Verify(k), ipam.For(c.addressing()).Check(ctx))
}

func (m mode[C]) del(ctx context.Context, c *call) error {
	conf, mistake := m.parse(c.stdin, c.env)
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
	set, _ := m.plan(conf, request, Lease{})
	if c.addressing().Executed() {
		return errors.Join(ipam.For(c.addressing()).Del(ctx), set.Remove(k)) // dhcp gives the address back through the link
	}
	return errors.Join(set.Remove(k), ipam.For(c.addressing()).Del(ctx)) // nobody may get an address that is in use
}

func (m mode[C]) gc(ctx context.Context, c *call) error {
	addressing := c.addressing()
	if addressing.Valid == nil {
		return ipam.For(addressing).GC(ctx)
	}
	pruned := prune(c)
	// What the host itself holds goes with the last claim on it, whatever the runtime knows.
	addressing.Valid = append(addressing.Valid, hostOwner(c.conf.Name))
	return errors.Join(pruned, ipam.For(addressing).GC(ctx))
}

func prune(c *call) error {
	k, err := c.open("")
	if err != nil {
		return err
	}
	var valid []state.Owner
	for _, o := range c.valid() {
		valid = append(valid, state.Owner{Network: c.conf.Name, ContainerID: o.ContainerID, IfName: o.IfName})
	}
	return errors.Join(state.Prune(k, c.conf.Name, valid), state.PruneClaims(k, c.conf.Name, valid, c.hostLease()))
}

func (m mode[C]) status(ctx context.Context, c *call) error {
	conf, err := m.parse(c.stdin, c.env)
	if err != nil {
		return err
	}
	k, err := c.open("")
	if err != nil {
		return unavailable(err)
	}
	set, _ := m.plan(conf, c.request(nil), Lease{})
	return unavailable(errors.Join(set.Ready(k), ipam.For(c.addressing()).Status(ctx)))
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
