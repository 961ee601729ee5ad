// Package tuning declares settings of a container's link that somebody else has made: what they were before is recorded, and
// set again when the declaration goes. It needs CAP_NET_ADMIN in the container's namespace.
package tuning

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// Settings are settings of the container's link of an owner. The zero value of each leaves the link as it is.
type Settings struct {
	Owner state.Owner
	// Dir is where the settings that the link had before are recorded.
	Dir string

	MAC      net.HardwareAddr
	Promisc  bool
	MTU      int // bytes
	AllMulti *bool
	TxQLen   *int // packets
}

func (s Settings) Place() state.Place { return state.Container }

func (s Settings) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "ip link set %s", s.Owner.IfName)
	for _, setting := range s.list() {
		fmt.Fprintf(&text, " %s %s", setting.name, setting.want)
	}
	return text.String()
}

// setting is one of the declared settings: how ip names it, its value there and the link's, and what sets it.
type setting struct {
	name, want string
	got        func(*netlink.LinkAttrs) string
	set        func(*kernel.Namespace, netlink.Link) error
}

// list is the declared settings in the order in which they are set.
func (s Settings) list() []setting {
	var list []setting
	if s.MAC != nil {
		list = append(list, setting{"address", s.MAC.String(),
			func(a *netlink.LinkAttrs) string { return a.HardwareAddr.String() },
			func(n *kernel.Namespace, l netlink.Link) error { return n.LinkSetHardwareAddr(l, s.MAC) }})
	}
	if s.Promisc {
		list = append(list, setting{"promisc", "on",
			func(a *netlink.LinkAttrs) string { return onOff(isPromisc(a)) },
			func(n *kernel.Namespace, l netlink.Link) error { return n.SetPromiscOn(l) }})
	}
	if s.MTU != 0 {
		list = append(list, setting{"mtu", fmt.Sprint(s.MTU),
			func(a *netlink.LinkAttrs) string { return fmt.Sprint(a.MTU) },
			func(n *kernel.Namespace, l netlink.Link) error { return n.LinkSetMTU(l, s.MTU) }})
	}
	if s.AllMulti != nil {
		list = append(list, setting{"allmulticast", onOff(*s.AllMulti),
			func(a *netlink.LinkAttrs) string { return onOff(isAllMulti(a)) },
			func(n *kernel.Namespace, l netlink.Link) error { return setAllMulti(n, l, *s.AllMulti) }})
	}
	if s.TxQLen != nil {
		list = append(list, setting{"txqueuelen", fmt.Sprint(*s.TxQLen),
			func(a *netlink.LinkAttrs) string { return fmt.Sprint(a.TxQLen) },
			func(n *kernel.Namespace, l netlink.Link) error { return n.LinkSetTxQLen(l, *s.TxQLen) }})
	}
	return list
}

// Ensure is Add.
func (s Settings) Ensure(k *kernel.Kernel) (bool, error) { return state.Ensured(s, k) }

// Add records the settings that the link has, and sets the declared ones.
func (s Settings) Add(k *kernel.Kernel, made *state.Rollback) error {
	link, err := s.link(k)
	if err != nil {
		return err
	}
	former, err := os.ReadFile(s.file())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	found := s.found(link.Attrs())
	text, err := json.Marshal(found)
	if err != nil {
		return err
	}
	made.Push(func() error {
		now, err := s.link(k)
		if err == nil {
			err = found.apply(k, now)
		}
		return errors.Join(err, s.write(former))
	})
	if err := s.write(text); err != nil {
		return err
	}
	return s.apply(k, link)
}

// link is the container's, as it is now.
func (s Settings) link(k *kernel.Kernel) (netlink.Link, error) {
	return k.Container.LinkNow(s.Owner.IfName)
}

func (s Settings) apply(k *kernel.Kernel, link netlink.Link) error {
	for _, setting := range s.list() {
		if err := setting.set(k.Container, link); err != nil {
			return fmt.Errorf("ip link set %s %s %s: %w", s.Owner.IfName, setting.name, setting.want, refused(err))
		}
	}
	return nil
}

// refused marks what the link cannot have as a mistake in the configuration.
func refused(err error) error {
	for _, cause := range []error{unix.EINVAL, unix.ERANGE, unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EBUSY} {
		if errors.Is(err, cause) {
			return fmt.Errorf("%w: choose a value that the link can have: %w", state.ErrConflict, err)
		}
	}
	return err
}

// Verify compares the link with the declared settings.
func (s Settings) Verify(k *kernel.Kernel) error {
	link, err := state.VerifyLink(k.Container, state.Container, s.Owner.IfName)
	if err != nil {
		return err
	}
	var errs []error
	for _, setting := range s.list() {
		if got := setting.got(link.Attrs()); got != setting.want {
			errs = append(errs, state.Driftf("%s has %s %s instead of %s", s.Owner.IfName, setting.name, got, setting.want))
		}
	}
	return errors.Join(errs...)
}

// Remove sets again what was recorded, whatever is declared, and drops the record. Without the link nothing is left to set.
func (s Settings) Remove(k *kernel.Kernel) error {
	before, ok, err := s.recorded()
	if err != nil || !ok {
		return err
	}
	if k.Container != nil {
		link, err := s.link(k)
		if err == nil {
			err = before.apply(k, link)
		}
		if err := state.IgnoreNotFound(err); err != nil {
			return err
		}
	}
	return s.dropRecord()
}

// differs says whether two addresses differ; none differs from no other.
func differs(a, b net.HardwareAddr) bool { return a != nil && b != nil && !bytes.Equal(a, b) }

func isPromisc(a *netlink.LinkAttrs) bool { return a.Promisc != 0 }

func isAllMulti(a *netlink.LinkAttrs) bool { return a.RawFlags&unix.IFF_ALLMULTI != 0 }

func setAllMulti(n *kernel.Namespace, link netlink.Link, on bool) error {
	if on {
		return n.LinkSetAllmulticastOn(link)
	}
	return n.LinkSetAllmulticastOff(link)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}
