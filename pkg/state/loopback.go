package state

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// LinkUp raises a link that is there.
type LinkUp struct {
	Attribute
	In   Place
	Link string
}

func (l LinkUp) Place() Place { return l.In }

func (l LinkUp) String() string { return "ip link set " + l.Link + " up" }

// Ensure raises the link unless it is up.
func (l LinkUp) Ensure(k *kernel.Kernel) (bool, error) {
	n := l.In.In(k)
	link, err := n.Link(l.Link)
	if err != nil {
		return false, err
	}
	if link.Attrs().Flags&net.FlagUp != 0 {
		return false, nil
	}
	if err := n.LinkSetUp(link); err != nil {
		return false, fmt.Errorf("%s: %w", l, err)
	}
	return true, nil
}

// Verify looks at the link's flag.
func (l LinkUp) Verify(k *kernel.Kernel) error {
	link, err := VerifyLink(l.In.In(k), l.In, l.Link)
	if err != nil {
		return err
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return Driftf("%s in the %s's namespace is down", l.Link, l.In)
	}
	return nil
}

// Loopback is the lo of a container, up, with the addresses the kernel gives it then. None of it is removed: others may
// use the namespace, and it goes with it.
func Loopback() Set {
	return Set{
		LinkUp{In: Container, Link: "lo"},
		Address{In: Container, Link: "lo", Prefix: netip.MustParsePrefix("127.0.0.1/8")},
		OptionalIPv6{Address{In: Container, Link: "lo", Prefix: netip.MustParsePrefix("::1/128")}},
	}
}
