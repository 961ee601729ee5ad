package lan

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairway-cni/fairway/pkg/claims"
	"github.com/fairway-cni/fairway/pkg/failure"
	"github.com/fairway-cni/fairway/pkg/kernel"
	"github.com/fairway-cni/fairway/pkg/state"
)

// VLANMaster is a master called PARENT.ID: where the host has no link of that name, it is made as the parent's interface
// in a VLAN, and removed with its last user, as Docker does. A master of another name is left to the administrator.
type VLANMaster struct {
	Owner  state.Owner
	Master Master
}

var _ state.Readier = VLANMaster{}

// VLAN reads a name as PARENT.ID. It is false for other names, and for a master in a container.
func (m Master) VLAN() (parent string, id int, ok bool) {
	dot := strings.LastIndexByte(m.Name, '.')
	if m.In != state.Host || dot < 1 {
		return "", 0, false
	}
	const first, last = 1, 4094 // IEEE 802.1Q; 0 and 4095 are reserved
	id, err := strconv.Atoi(m.Name[dot+1:])
	if err != nil || id < first || id > last || strconv.Itoa(id) != m.Name[dot+1:] {
		return "", 0, false
	}
	return m.Name[:dot], id, true
}

func (v VLANMaster) String() string {
	parent, id, ok := v.Master.VLAN()
	if !ok {
		return ""
	}
	return fmt.Sprintf("ip link add link %s name %s up type vlan id %d", parent, v.Master.Name, id)
}

// Ready says whether the interface is there, or its parent is.
func (v VLANMaster) Ready(k *kernel.Kernel) error {
	parent, _, ok := v.Master.VLAN()
	if !ok {
		return nil
	}
	_, err := k.Host.Link(v.Master.Name)
	if kernel.IsNotFound(err) {
		_, err = v.parent(k, parent)
	}
	return err
}

func (v VLANMaster) parent(k *kernel.Kernel, name string) (netlink.Link, error) {
	link, err := k.Host.Link(name)
	if kernel.IsNotFound(err) {
		return nil, failure.Of(state.ErrAbsent, "master %s does not exist in the host's namespace, and neither does %s to make it on: name an interface in key master",
			v.Master.Name, name)
	}
	return link, err
}

// Ensure makes the interface, or claims the one that fairway made for another.
func (v VLANMaster) Ensure(k *kernel.Kernel) (created bool, err error) {
	parent, id, ok := v.Master.VLAN()
	if !ok {
		return false, nil
	}
	err = withClaims(func(book *claims.Book) error {
		link, err := k.Host.LinkNow(v.Master.Name)
		if err == nil && link.Attrs().Group != state.VLANGroup {
			return nil // the administrator's
		}
		if err != nil && !kernel.IsNotFound(err) {
			return err
		}
		claim, thing := claims.Claim{Owner: claims.Owner(v.Owner)}, claimedVLAN+v.Master.Name
		if err := book.Put(thing, claim); err != nil {
			return err
		}
		created = true
		if link != nil {
			return nil
		}
		if err := v.add(k, parent, id); err != nil {
			created = false
			return errors.Join(err, freeVLAN(k)(book, thing, claim))
		}
		return nil
	})
	return created, err
}

func (v VLANMaster) add(k *kernel.Kernel, parentName string, id int) error {
	parent, err := v.parent(k, parentName)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex, attrs.Group, attrs.Flags = v.Master.Name, parent.Attrs().Index, state.VLANGroup, net.FlagUp
	err = k.Host.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: id, VlanProtocol: netlink.VLAN_PROTOCOL_8021Q})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("master %s is a VLAN interface to make (CONFIG_VLAN_8021Q), %w: name an interface that exists, or use a kernel that has it",
			v.Master.Name, state.ErrUnsupported)
	case errors.Is(err, unix.EEXIST):
		return failure.Of(state.ErrConflict, "%s has an interface in VLAN %d under another name: give that one in key master", parentName, id)
	case errors.Is(err, unix.ENETDOWN):
		return failure.Of(state.ErrConflict, "master %s cannot be made while %s is down: ip link set %s up", v.Master.Name, parentName, parentName)
	case err != nil:
		return fmt.Errorf("%s: %w", v, err)
	}
	return nil
}

// Verify leaves the interface to the links that lie on it: they go with it.
func (VLANMaster) Verify(*kernel.Kernel) error { return nil }

// Remove gives up what the owner claims, whatever name the configuration has by now.
func (v VLANMaster) Remove(k *kernel.Kernel) error {
	return releaseAll(claimedVLAN, only(v.Owner), freeVLAN(k))
}

// freeVLAN removes a VLAN interface with its last claim.
func freeVLAN(k *kernel.Kernel) release {
	return func(book *claims.Book, thing string, c claims.Claim) error {
		rest, err := others(book, thing, c.Owner)
		if err != nil {
			return err
		}
		if len(rest) == 0 {
			if err := removeGrouped(k, strings.TrimPrefix(thing, claimedVLAN), state.VLANGroup); err != nil {
				return err
			}
		}
		return book.Drop(thing, c.Owner)
	}
}

// removeGrouped removes a link of the host if it is of a group. Absence is success.
func removeGrouped(k *kernel.Kernel, name string, of uint32) error {
	link, err := k.Host.LinkNow(name)
	if err != nil || link.Attrs().Group != of {
		return state.IgnoreNotFound(err)
	}
	return state.DeleteLink(k.Host, link)
}
