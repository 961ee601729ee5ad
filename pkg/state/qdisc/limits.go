// Package qdisc declares how fast a container may send and receive: token buckets (tc-tbf(8)) on the host's end of its veth, and
// on a device beside it (ifb) for what comes from it, as only what a link sends can wait. It needs CAP_NET_ADMIN in the host's
// namespace.
package qdisc

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Rate is how much may pass.
type Rate struct {
	// Bits a second; 0: no limit.
	Bits uint64
	// Burst is how many bits may pass at once.
	Burst uint64
}

// Limits are those of a container's link.
type Limits struct {
	Owner state.Owner
	// HostLinks are the links of the host in the result, among which is the host's end of the container's.
	HostLinks []string
	// In is what the container receives, Out what it sends.
	In, Out Rate
}

var (
	_ state.Anchor = Limits{}
	_ state.Adder  = Limits{}
)

func (l Limits) String() string {
	var lines []string
	if l.In.Bits > 0 {
		lines = append(lines, fmt.Sprintf("tc qdisc replace dev HOST_END root tbf %s", l.In))
	}
	if l.Out.Bits > 0 {
		lines = append(lines, fmt.Sprintf("ip link add %s up type ifb", IFB(l.Owner)),
			fmt.Sprintf("tc qdisc add dev %s root tbf %s", IFB(l.Owner), l.Out),
			"tc qdisc add dev HOST_END ingress",
			fmt.Sprintf("tc filter add dev HOST_END ingress matchall action mirred egress redirect dev %s", IFB(l.Owner)))
	}
	return strings.Join(lines, " && ")
}

func (r Rate) String() string {
	return fmt.Sprintf("rate %dbit burst %d latency 25ms", r.Bits, r.Burst/8)
}

// Free says whether the container's link has a host's end that can be limited.
func (l Limits) Free(k *kernel.Kernel) error {
	_, err := l.hostEnd(k)
	return err
}

// hostEnd is the host's end of the container's veth.
func (l Limits) hostEnd(k *kernel.Kernel) (netlink.Link, error) {
	link, err := k.Container.Link(l.Owner.IfName)
	if err != nil {
		return nil, err
	}
	if link.Type() == "veth" {
		end, err := k.Host.LinkAt(link.Attrs().ParentIndex)
		if err == nil && slices.Contains(l.HostLinks, end.Attrs().Name) {
			return end, nil
		}
		if err := state.IgnoreNotFound(err); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("interface %s is a %s without an end on the host in the result, %w: limit a network of bridge or ptp, or remove bandwidth",
		l.Owner.IfName, link.Type(), state.ErrConflict)
}

// Ensure is Add.
func (l Limits) Ensure(k *kernel.Kernel) (bool, error) { return state.Ensured(l, k) }

// Add sets the limits, unless they are there. What comes from the container is led aside last.
func (l Limits) Add(k *kernel.Kernel, made *state.Rollback) error {
	end, err := l.hostEnd(k)
	if err != nil {
		return err
	}
	if err := l.Verify(k); !errors.Is(err, state.ErrDrift) {
		return err // what cannot be read may be there
	}
	before, err := l.present(k, end)
	if err != nil {
		return err
	}
	made.Push(func() error { return before.restore(k, l, end) })
	return l.set(k, end)
}

func (l Limits) set(k *kernel.Kernel, end netlink.Link) error {
	if l.In.Bits > 0 {
		if err := l.In.apply(k, end); err != nil {
			return err
		}
	}
	if l.Out.Bits == 0 {
		return nil
	}
	return l.lead(k, end, func(ifb netlink.Link) error { return l.Out.apply(k, ifb) })
}

// lead leads what comes from the container aside, to a device that limit limits.
func (l Limits) lead(k *kernel.Kernel, end netlink.Link, limit func(ifb netlink.Link) error) error {
	ifb, err := l.addIFB(k, end.Attrs().MTU)
	if err != nil {
		return err
	}
	if err := limit(ifb); err != nil {
		return err
	}
	// What an ADD cut short has left has a filter already, which cannot be replaced without its handle.
	if err := ignoreAbsent(k.Host.QdiscDel(ingress(end))); err != nil {
		return fmt.Errorf("tc qdisc del dev %s ingress: %w", end.Attrs().Name, err)
	}
	if err := k.Host.QdiscAdd(ingress(end)); err != nil {
		return fmt.Errorf("tc qdisc add dev %s ingress: %w", end.Attrs().Name, lacking(err, "CONFIG_NET_SCH_INGRESS"))
	}
	if err := k.Host.FilterAdd(redirect(end, ifb)); err != nil {
		return fmt.Errorf("tc filter add dev %s ingress: %w", end.Attrs().Name, lacking(err, "CONFIG_NET_CLS_U32, CONFIG_NET_ACT_MIRRED"))
	}
	return nil
}

// latency is how long a packet may wait, in seconds; upstream's.
const latency = 0.025

// bucket is the token bucket of a rate, with the kernel's figures: bytes, and ticks in which the burst passes.
func (r Rate) bucket(link netlink.Link) *netlink.Tbf {
	rate, burst := float64(r.Bits/8), float64(r.Burst/8)
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
		},
		Rate: r.Bits / 8, Limit: clamp(rate*latency + burst),
		Buffer: clamp(math.Floor(burst*netlink.TIME_UNITS_PER_SEC/rate) * netlink.TickInUsec()),
	}
}

// clamp keeps what the kernel's 32 bits cannot hold at the most that they can.
func clamp(f float64) uint32 { return uint32(min(f, math.MaxUint32)) }

func (r Rate) apply(k *kernel.Kernel, link netlink.Link) error {
	if err := k.Host.QdiscReplace(r.bucket(link)); err != nil {
		return fmt.Errorf("tc qdisc replace dev %s root tbf %s: %w", link.Attrs().Name, r, lacking(err, "CONFIG_NET_SCH_TBF"))
	}
	return nil
}

func ingress(end netlink.Link) *netlink.Ingress {
	return &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: end.Attrs().Index, Handle: ingressHandle, Parent: netlink.HANDLE_INGRESS,
	}}
}

// ingressHandle is ffff: of tc.
const ingressHandle = 0xffff << 16

// redirect leads all that comes in by a link to another one, which sends it into the stack again.
func redirect(end, to netlink.Link) *netlink.U32 {
	return &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{
			LinkIndex: end.Attrs().Index, Parent: ingressHandle, Priority: 1, Protocol: unix.ETH_P_ALL,
		},
		ClassId: netlink.MakeHandle(1, 1),
		Actions: []netlink.Action{&netlink.MirredAction{
			ActionAttrs: netlink.ActionAttrs{Action: netlink.TC_ACT_STOLEN}, MirredAction: netlink.TCA_EGRESS_REDIR, Ifindex: to.Attrs().Index,
		}},
	}
}

// lacking names the kernel's option when it has no such thing.
func lacking(err error, option string) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("bandwidth needs %s, %w: remove the limit, or use a kernel that has it: %w", option, state.ErrUnsupported, err)
	}
	return err
}

// Verify compares the limits with the declared ones.
func (l Limits) Verify(k *kernel.Kernel) error {
	end, err := l.hostEnd(k)
	if err != nil {
		return state.IgnoreNotFound(err) // the link's own Verify says so
	}
	var errs []error
	if l.In.Bits > 0 {
		errs = append(errs, l.In.verify(k, end))
	}
	if l.Out.Bits > 0 {
		errs = append(errs, l.verifyOut(k, end))
	}
	return errors.Join(errs...)
}

func (r Rate) verify(k *kernel.Kernel, link netlink.Link) error {
	got, err := bucketOf(k, link)
	if err != nil {
		return err
	}
	want := r.bucket(link)
	switch {
	case got == nil:
		return state.Driftf("%s has no token bucket", link.Attrs().Name)
	case got.Rate != want.Rate || got.Limit != want.Limit || !near(got.Buffer, want.Buffer):
		return state.Driftf("%s has rate %dbit and limit %d instead of %dbit and %d", link.Attrs().Name, got.Rate*8, got.Limit, r.Bits, want.Limit)
	}
	return nil
}

// bucketOf is the token bucket that a link has, nil for none.
func bucketOf(k *kernel.Kernel, link netlink.Link) (*netlink.Tbf, error) {
	list, err := kernel.Dump(func() ([]netlink.Qdisc, error) { return k.Host.QdiscList(link) })
	if err != nil {
		return nil, fmt.Errorf("tc qdisc show dev %s: %w", link.Attrs().Name, err)
	}
	for _, q := range list {
		if tbf, ok := q.(*netlink.Tbf); ok && tbf.Parent == netlink.HANDLE_ROOT {
			return tbf, nil
		}
	}
	return nil, nil
}

// near allows for the kernel's own unit of time.
func near(a, b uint32) bool { return max(a, b)-min(a, b) <= max(a, b)/1000+64 }

func (l Limits) verifyOut(k *kernel.Kernel, end netlink.Link) error {
	ifb, err := state.VerifyLink(k.Host, state.Host, IFB(l.Owner))
	if errors.Is(err, state.ErrDrift) {
		if theirs, err := k.Host.Link(upstreamIFB(l.Owner)); err == nil {
			return l.verifyLed(k, end, theirs)
		}
	}
	if err != nil {
		return err
	}
	return l.verifyLed(k, end, ifb)
}

// verifyLed looks whether what comes in by the host's end goes to a device that has the limit.
func (l Limits) verifyLed(k *kernel.Kernel, end, ifb netlink.Link) error {
	errs := []error{l.Out.verify(k, ifb)}
	filters, err := kernel.Dump(func() ([]netlink.Filter, error) { return k.Host.FilterList(end, ingressHandle) })
	if err != nil && !errors.Is(err, unix.EINVAL) { // no ingress
		errs = append(errs, fmt.Errorf("tc filter show dev %s ingress: %w", end.Attrs().Name, err))
	}
	if !slices.ContainsFunc(filters, func(f netlink.Filter) bool { return leadsTo(f, ifb) }) {
		errs = append(errs, state.Driftf("what comes in by %s is not led to %s", end.Attrs().Name, ifb.Attrs().Name))
	}
	return errors.Join(errs...)
}

func leadsTo(f netlink.Filter, to netlink.Link) bool {
	u32, ok := f.(*netlink.U32)
	if !ok {
		return false
	}
	return u32.RedirIndex == to.Attrs().Index || slices.ContainsFunc(u32.Actions, func(a netlink.Action) bool {
		mirred, ok := a.(*netlink.MirredAction)
		return ok && mirred.Ifindex == to.Attrs().Index
	})
}

// Remove takes the limits away, with the device of what comes from the container, and that of upstream's plugin.
func (l Limits) Remove(k *kernel.Kernel) error {
	var errs []error
	if k.Container != nil {
		if end, err := l.hostEnd(k); err == nil {
			errs = append(errs, ignoreAbsent(k.Host.QdiscDel(ingress(end))), removeBucket(k, end))
		}
	}
	return errors.Join(append(errs, state.RemoveLink(k.Host, IFB(l.Owner)), state.RemoveLink(k.Host, upstreamIFB(l.Owner)))...)
}

func removeBucket(k *kernel.Kernel, end netlink.Link) error {
	tbf, err := bucketOf(k, end)
	if tbf == nil || err != nil {
		return err
	}
	return ignoreAbsent(k.Host.QdiscDel(tbf))
}

// ignoreAbsent makes the absence of a queueing discipline, or of its link, a success.
func ignoreAbsent(err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENODEV) {
		return nil
	}
	return err
}
