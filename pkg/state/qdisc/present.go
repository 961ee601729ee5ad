package qdisc

import (
	"errors"

	"github.com/vishvananda/netlink"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// present is the limits that a container's link has had before others are set. Nil: none.
type present struct{ in, out *netlink.Tbf }

func (l Limits) present(k *kernel.Kernel, end netlink.Link) (p present, err error) {
	if p.in, err = bucketOf(k, end); err != nil {
		return p, err
	}
	ifb, err := k.Host.LinkNow(IFB(l.Owner))
	if err != nil {
		return p, state.IgnoreNotFound(err)
	}
	p.out, err = bucketOf(k, ifb)
	return p, err
}

// restore sets them again, and removes what else was set.
func (p present) restore(k *kernel.Kernel, l Limits, end netlink.Link) error {
	in := func() error { return removeBucket(k, end) }
	if p.in != nil {
		in = func() error { return k.Host.QdiscReplace(p.in) }
	}
	if p.out == nil {
		return errors.Join(in(), ignoreAbsent(k.Host.QdiscDel(ingress(end))), state.RemoveLink(k.Host, IFB(l.Owner)))
	}
	return errors.Join(in(), l.lead(k, end, func(netlink.Link) error { return k.Host.QdiscReplace(p.out) }))
}
