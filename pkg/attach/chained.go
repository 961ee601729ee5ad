package attach

import (
	"context"
	"errors"
	"os"

	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Chained is a plugin that adds to what the plugins before it in a list have made, and passes their result on. It has no
// addresses of its own.
type Chained[C any] struct {
	Parse Parse[C]
	// Plan declares what the plugin adds to an attachment, and what of the result changes by it. It is pure. Where nothing is
	// recorded, as at STATUS and some DELs, it declares as much as these need: each object that has to be removed.
	Plan func(conf C, link Link) (state.Set, Amendment)
	// Prune removes what attachments that are not valid have left, for GC. Nil: all of it goes with the container.
	Prune func(conf C, k *Kernel, network string, valid []state.Owner) error
}

// Link is the interface that a chained plugin is called for, as the plugins before it have reported it.
type Link struct {
	Request
	// Reported is false where no result says what the interface is.
	Reported bool
	// Lease is its addresses, and the routes of the result.
	Lease Lease
	// HostLinks are the names of the links of the host in the result, in their order.
	HostLinks []string
}

// Amendment is what a chained plugin changes of the result that it passes on.
type Amendment struct {
	// Interfaces are added to the result.
	Interfaces []Interface
	// Reread reports the MAC and the MTU of the container's interface anew.
	Reread bool
}

// MainChained runs a chained plugin and exits.
func MainChained[C any](name string, m Chained[C]) {
	os.Exit(process(name, chained[C]{m}))
}

// chained is the verbs of a chained plugin.
type chained[C any] struct{ Chained[C] }

func (m chained[C]) add(_ context.Context, c *call, made *rollback) (*types100.Result, error) {
	conf, err := m.Parse(c.stdin, c.env)
	if err != nil {
		return nil, err
	}
	prev, err := c.prevResult()
	if err == nil && prev == nil {
		err = Invalidf("prevResult is missing: name the plugin behind another one that attaches the container")
	}
	if err != nil {
		return nil, err
	}
	k, err := c.openContainer()
	if err != nil {
		return nil, err
	}
	link, err := c.link(prev)
	if err != nil {
		return nil, err
	}
	set, amendment := m.Plan(conf, link)
	if err := set.Free(k); err != nil {
		return nil, err
	}
	if err := made.apply(k, set); err != nil {
		return nil, err
	}
	return prev, amendment.amend(k, c, prev)
}

// link is the interface of a call, with what a result says of it.
func (c *call) link(prev *types100.Result) (l Link, err error) {
	l.Request = c.request(prev)
	if prev == nil {
		return l, nil
	}
	l.Reported = true
	for _, i := range prev.Interfaces {
		if i.Sandbox == "" {
			l.HostLinks = append(l.HostLinks, i.Name)
		}
	}
	l.Lease, err = c.recordedLease(prev)
	return l, err
}

// amend changes a result.
func (a Amendment) amend(k *kernel.Kernel, c *call, result *types100.Result) error {
	for _, planned := range a.Interfaces {
		i, err := planned.document(k, c)
		if err != nil {
			return err
		}
		result.Interfaces = append(result.Interfaces, i)
	}
	at := c.recordedInterface(result)
	if !a.Reread || at < 0 {
		return nil
	}
	i, err := Interface{Name: c.env.IfName, In: state.Container}.document(k, c)
	if err != nil {
		return err
	}
	result.Interfaces[at].Mac, result.Interfaces[at].Mtu = i.Mac, i.Mtu
	return nil
}

func (m chained[C]) check(_ context.Context, c *call) error {
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
	link, err := c.link(prev)
	if err != nil {
		return err
	}
	link.Recorded = true
	set, _ := m.Plan(conf, link)
	if c.env.Redeclare != "" {
		return set.Redeclare(k, c.env.Redeclare == RedeclareAll)
	}
	return errors.Join(set.Repair(k), set.Verify(k))
}

func (m chained[C]) del(_ context.Context, c *call) error {
	conf := parseForRemoval(c, m.Parse)
	prev, _ := c.prevResult() // one that cannot be read is as none
	k, err := c.openForDel()
	if err != nil {
		return err
	}
	link, _ := c.link(prev) // likewise its addresses
	link.Removal = true
	set, _ := m.Plan(conf, link)
	return set.Remove(k)
}

func (m chained[C]) gc(_ context.Context, c *call) error {
	if m.Prune == nil || c.valid == nil {
		return nil
	}
	k, err := c.openForRemoval("")
	if err != nil {
		return err
	}
	return m.Prune(parseForRemoval(c, m.Parse), k, c.conf.Name, c.owners())
}

func (m chained[C]) status(_ context.Context, c *call) error {
	conf, err := m.Parse(c.stdin, c.env)
	if err != nil {
		return err
	}
	k, err := c.open("")
	if err != nil {
		return unavailable(err)
	}
	set, _ := m.Plan(conf, Link{Request: c.request(nil)})
	return unavailable(exceptLimits(set.Ready(k)))
}
