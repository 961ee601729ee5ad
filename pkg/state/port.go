package state

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/kernel"
)

// RaisePort raises a link of the host that was made a moment ago, makes it a port of a bridge and gives it an alias. Without
// the name of a bridge it is none's.
func RaisePort(k *kernel.Kernel, port, bridge, alias string) error {
	master := 0
	if bridge != "" {
		link, err := k.Host.Link(bridge)
		if err != nil {
			return AsVanished(err)
		}
		master = link.Attrs().Index
	}
	err := k.RaisePort(port, master, alias)
	switch {
	case errors.Is(err, unix.EXFULL):
		return failure.Of(ErrFull, "bridge %s has 1023 ports, as many as a bridge can have: remove a container, or use another bridge", bridge)
	case errors.Is(err, unix.ENODEV):
		return fmt.Errorf("%w: %w", err, ErrVanished)
	case errors.Is(err, unix.EINVAL) && master != 0:
		// The kernel's answer for a master that does not exist (do_set_master), and for others.
		if _, gone := k.Host.LinkAt(master); kernel.IsNotFound(gone) {
			return fmt.Errorf("%w: %w", err, ErrVanished)
		}
	}
	return err
}
