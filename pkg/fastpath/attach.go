package fastpath

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// attach has a link's packets go through the program until the result is closed. From Linux 6.6 on (tcx) that ends with this process, too.
func (p *path) attach(k *kernel.Kernel, to netlink.Link) (io.Closer, error) {
	byLink, err := link.AttachTCX(link.TCXOptions{Interface: to.Attrs().Index, Program: p.program, Attach: ebpf.AttachTCXIngress})
	if !errors.Is(err, ebpf.ErrNotSupported) {
		if err != nil {
			return nil, fmt.Errorf("%s of %s: %w", programName, to.Attrs().Name, err)
		}
		return byLink, nil
	}
	return attachFilter(k, to, p.program.FD())
}

// filter is the program as a filter of tc, where the kernel has no tcx. One that a killed process has left passes nothing, as its lease has
// ended, and is replaced.
type filter struct{ of netlink.Link }

func attachFilter(k *kernel.Kernel, to netlink.Link, program int) (io.Closer, error) {
	f := filter{to}
	err := k.Host.QdiscReplace(f.qdisc())
	if err == nil {
		err = netlink.FilterReplace(&netlink.BpfFilter{FilterAttrs: f.attrs(), Fd: program, Name: programName, DirectAction: true})
	}
	if err != nil {
		return nil, fmt.Errorf("tc filter replace dev %s ingress bpf %s: %w", to.Attrs().Name, programName, err)
	}
	return f, nil
}

func (f filter) qdisc() netlink.Qdisc {
	return &netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: f.of.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT}}
}

func (f filter) attrs() netlink.FilterAttrs {
	return netlink.FilterAttrs{LinkIndex: f.of.Attrs().Index, Parent: netlink.HANDLE_MIN_INGRESS, Handle: 1, Priority: 1, Protocol: unix.ETH_P_ALL}
}

// Close takes the filter away, with the discipline that was made for it.
func (f filter) Close() error {
	err := netlink.QdiscDel(f.qdisc())
	if errors.Is(err, unix.ENODEV) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil // it went with its link, or others took it
	}
	return err
}

// filtersOfOthers says whether a link has filters that the program's redirects would hide packets from.
func filtersOfOthers(of netlink.Link) (bool, error) {
	for _, parent := range []uint32{netlink.HANDLE_MIN_INGRESS, netlink.HANDLE_MIN_EGRESS} {
		filters, err := kernel.Dump(func() ([]netlink.Filter, error) { return netlink.FilterList(of, parent) })
		if err != nil {
			return false, fmt.Errorf("tc filter show dev %s: %w", of.Attrs().Name, err)
		}
		if slices.ContainsFunc(filters, func(f netlink.Filter) bool {
			own, is := f.(*netlink.BpfFilter)
			return !is || own.Name != programName
		}) {
			return true, nil
		}
	}
	return false, nil
}
