package state

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// dadTimeout bounds the wait for duplicate address detection: by default one probe after a random delay of at most a
// second, and an answer within another (RFC 4861 RTR_SOLICITATION_DELAY, RetransTimer).
const dadTimeout = 10 * time.Second

// errDuplicate says that another machine on the segment answered for the address.
var errDuplicate = errors.New("another machine on the network has this address")

// waitForDAD waits until the kernel says that the address is usable, or that it is not.
func (a Address) waitForDAD(n *kernel.Namespace, link netlink.Link) error {
	updates := make(chan netlink.AddrUpdate, 16)
	done := make(chan struct{})
	defer close(done)
	if err := subscribe(n, updates, done); err != nil {
		return fmt.Errorf("ip monitor address: %w", err)
	}
	// The detection may have ended before the subscription began.
	settled, err := a.settled(n, link)
	if settled || err != nil {
		return err
	}
	timeout := time.After(dadTimeout)
	for {
		select {
		case u, open := <-updates:
			if !open {
				return fmt.Errorf("%s: the kernel's address events ended", a)
			}
			if u.LinkIndex != link.Attrs().Index || PrefixOf(&u.LinkAddress) != a.Prefix {
				continue
			}
			if settled, err := a.dadResult(u.Flags); settled || err != nil {
				return err
			}
		case <-timeout:
			return fmt.Errorf("%s: duplicate address detection did not end within %s", a, dadTimeout)
		}
	}
}

func (a Address) settled(n *kernel.Namespace, link netlink.Link) (bool, error) {
	found, err := LinkAddresses(n, link)
	if err != nil {
		return false, err
	}
	for _, addr := range found {
		if PrefixOf(addr.IPNet) == a.Prefix {
			return a.dadResult(addr.Flags)
		}
	}
	return false, fmt.Errorf("%s: %w", a, ErrVanished)
}

// dadResult reads the flags of an address: whether detection has ended, and with an error if it found a duplicate.
func (a Address) dadResult(flags int) (bool, error) {
	if flags&unix.IFA_F_DADFAILED != 0 {
		return true, fmt.Errorf("%s: %w", a, errDuplicate)
	}
	return flags&unix.IFA_F_TENTATIVE == 0, nil
}

// subscribe receives the address events of a namespace until done is closed. The socket is opened inside.
func subscribe(n *kernel.Namespace, updates chan<- netlink.AddrUpdate, done <-chan struct{}) error {
	return n.Do(func() error { return netlink.AddrSubscribe(updates, done) })
}
