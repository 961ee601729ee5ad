package state

import (
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
)

// carrierTimeout bounds the wait for a link that was raised a moment ago.
const carrierTimeout = time.Second

// errNoCarrier says that nothing is plugged in below a macvlan: its master has no cable, and may never have one.
var errNoCarrier = errors.New("no carrier")

// awaitCarrier waits until a link found a moment ago is up and carries frames. The kernel makes a raised link do so a
// little later (linkwatch); until then it drops what is sent, and a bridge does not forward to it. Usually that is over
// when somebody asks, and since Linux 6.9 asking ends it.
func awaitCarrier(n *kernel.Namespace, link netlink.Link) error {
	if link.Attrs().OperState == netlink.OperUp {
		return nil
	}
	if link.Type() == "macvlan" && link.Attrs().RawFlags&unix.IFF_LOWER_UP == 0 {
		return errNoCarrier
	}
	updates, done := make(chan netlink.LinkUpdate, 16), make(chan struct{})
	defer close(done)
	if err := n.Do(func() error { return netlink.LinkSubscribe(updates, done) }); err != nil {
		return fmt.Errorf("ip monitor link: %w", err)
	}
	timeout := time.After(carrierTimeout)
	for {
		// Asked for after the subscription began, so that no change is missed in between.
		link, err := n.LinkAt(link.Attrs().Index)
		if err != nil || link.Attrs().OperState == netlink.OperUp {
			return err
		}
		select {
		case _, open := <-updates:
			if !open {
				return errors.New("ip monitor link: the kernel's events ended")
			}
		case <-timeout:
			return fmt.Errorf("%s carries no frames after %s", link.Attrs().Name, carrierTimeout)
		}
	}
}
