package state

import (
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// enableIPv6 turns IPv6 on for a link on which it is off, as some runtimes make containers, and some administrators their
// hosts: an IPv6 lease asks for it. In a container, that is also for lo, by which it talks to itself; the host's lo is not
// ours.
func (p Place) enableIPv6(k *kernel.Kernel, link string) error {
	links := []string{link}
	if p == Container {
		links = append(links, "lo")
	}
	for _, name := range links {
		if err := p.In(k).SetSysctl("net/ipv6/conf/"+name+"/disable_ipv6", "0"); err != nil {
			return fmt.Errorf("IPv6 is off in the %s and cannot be turned on: set net.ipv6.conf.%s.disable_ipv6=0 there, "+
				"or remove the IPv6 ranges from key ipam: %w", p, name, err)
		}
	}
	return nil
}

// withoutIPv6 says what the refusal of a request of a family means on a kernel that does not have it.
func withoutIPv6(family uint8, err error) error {
	if family == unix.AF_INET6 && (errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EAFNOSUPPORT)) {
		return fmt.Errorf("IPv6 (ipv6.disable=1, or no CONFIG_IPV6) is %w: remove the IPv6 ranges from the network's configuration, "+
			"or boot a kernel that has it", ErrUnsupported)
	}
	return err
}

// Configure sends requests about the addresses and routes of a link of the host, and gives the error of each, as
// kernel.Batch does. Where IPv6 is off on the link it is turned on, and the requests are sent again.
func Configure(k *kernel.Kernel, link string, requests []kernel.Message) (errs []error, err error) {
	const tries = 2
	for try := range tries {
		if errs, err = k.Batch(requests); err != nil {
			return nil, err
		}
		off := false
		for i, r := range requests {
			off = off || r.Body[0] == unix.AF_INET6 && errors.Is(errs[i], unix.EACCES)
			errs[i] = withoutIPv6(r.Body[0], errs[i])
		}
		if !off || try == tries-1 {
			break
		}
		if err := Host.enableIPv6(k, link); err != nil {
			return nil, err
		}
	}
	return errs, nil
}

// OptionalIPv6 is an address of a kernel that may have no IPv6, or of a namespace where it is off. There, its absence is
// no drift.
type OptionalIPv6 struct{ Address }

func (o OptionalIPv6) off(k *kernel.Kernel) bool {
	value, err := o.In.In(k).Sysctl("net/ipv6/conf/" + o.Link + "/disable_ipv6")
	return errors.Is(err, fs.ErrNotExist) || err == nil && value != "0"
}

// Ensure adds the address where IPv6 is on.
func (o OptionalIPv6) Ensure(k *kernel.Kernel) (bool, error) {
	if o.off(k) {
		return false, nil
	}
	return o.Address.Ensure(k)
}

// Verify looks for the address where IPv6 is on.
func (o OptionalIPv6) Verify(k *kernel.Kernel) error {
	if o.off(k) {
		return nil
	}
	return o.Address.Verify(k)
}
